"""A run that is killed at any moment, again and again, loses no result and has none twice."""

import json
import random
import subprocess
import time

import pytest

from pcbench.report import read_report
from tests.helpers.command_line import PCBENCH, environment, pcbench
from tests.helpers.toy_suites import ENERGY, write_suite

KILLS, CASES = 20, 30
KEPT = {"id", "suite", "parameters", "status", "message", "checks", "claims", "series"}


def numbers(file):
    return [case.model_dump(include=KEPT) for case in read_report(file).cases]


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_ends_as_one_that_is_not(tmp_path):
    seeds = f"matrix: {{seed: {list(range(CASES))}}}"
    suite = write_suite(tmp_path / "suite.yaml", ENERGY.replace("{id", f"{{{seeds}, id"))
    whole, file = tmp_path / "whole.json", tmp_path / "report.json"
    journal = tmp_path / "report.json.journal"
    assert pcbench("run", suite, "--json", whole).returncode == 0
    moments = random.Random(0)
    for _ in range(KILLS):
        with subprocess.Popen(
            [*PCBENCH, "run", str(suite), "--json", str(file), "--resume", "--quiet"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
        ) as process:
            # At the start, or soon after a result, so that not all are killed before the first.
            time.sleep(moments.uniform(0.0, 1.0))
            known = journal.read_bytes().count(b"\n") if journal.exists() else 0
            deadline = time.monotonic() + moments.choice([0.0, 20.0])
            while time.monotonic() < deadline and process.poll() is None:
                if journal.exists() and journal.read_bytes().count(b"\n") > known:
                    break
                time.sleep(0.001)
            time.sleep(moments.uniform(0.0, 0.05))
            process.kill()
        if file.exists():  # it was quicker than its end
            break
        lines = journal.read_bytes().splitlines() if journal.exists() else []
        found = [json.loads(line)["result"]["id"] for line in lines[1:-1]]
        assert len(found) == len(set(found))
    assert pcbench("run", suite, "--json", file, "--resume").returncode == 0
    assert numbers(file) == numbers(whole)
