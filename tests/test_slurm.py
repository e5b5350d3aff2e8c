"""The recipe for SLURM, as far as it can be tested without SLURM."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pcbench.report import read_report
from tests.cli.test_interrupt import ENDLESS
from tests.helpers.command_line import environment, pcbench
from tests.helpers.interruptions import interruptible
from tests.helpers.toy_suites import ENERGY, ORIGIN, write_suite

SCRIPT = Path(__file__).parents[1] / "examples" / "slurm" / "array.sh"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="this machine has no bash")


def submit(folder, suite, task, count):
    """Start a task of an array as SLURM does."""
    command = folder / "pcbench"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pcbench "$@"\n')
    command.chmod(0o755)
    variables = environment(SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_TASK_COUNT=count)
    variables["PATH"] = f"{folder}:{variables['PATH']}"
    return subprocess.Popen(
        ["bash", str(SCRIPT), str(suite)],
        cwd=folder,
        env=variables,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def test_the_shards_of_an_array_are_merged_to_the_whole(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", ENERGY, ORIGIN)
    for task in (1, 2):
        with submit(tmp_path, suite, task, 2) as process:
            _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    done = pcbench("merge", *sorted(tmp_path.glob("shard-*.json")), "--json", tmp_path / "all.json")
    assert done.returncode == 0, done.stderr
    assert [case.id for case in read_report(tmp_path / "all.json").cases] == ["energy", "origin"]


def test_a_task_that_is_ended_leaves_its_report_and_its_journal(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", ENERGY, ENDLESS)
    with interruptible(), submit(tmp_path, suite, 1, 1) as process:
        assert process.stderr.readline().startswith("[1/2] passed energy")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert read_report(tmp_path / "shard-1.json").interrupted
    assert (tmp_path / "shard-1.json.journal").exists()
