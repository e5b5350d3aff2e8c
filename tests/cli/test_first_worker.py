"""The worker process that starts before suites are read: it serves, or it ends with the command."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.toy_suites import ORIGIN, write_suite

# Says which processes are left, and which were started with which backends.
PROBE = """
import atexit, subprocess, sys
from pcbench import launch

begun, start = [], launch.launch

def launched(threads, backends=()):
    begun.append((start(threads, backends), list(backends)))
    return begun[-1][0]

def tell():
    for process, backends in begun:
        print("launched:", *backends, process.poll() is not None, file=sys.stderr)

launch.launch = launched
atexit.register(tell)
from pcbench.cli import main
main()
"""


def run(*arguments):
    command = [sys.executable, "-c", PROBE, "run", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.startswith("launched:")]
    return done.returncode, said


@pytest.mark.parametrize(
    ("backend", "options", "named"),
    [
        ("numpy", [], "numpy"),
        ("torch", ["--backend", "numpy"], "numpy"),
        ("numpy", ["--set", "backend=numpy", "--jobs", "1"], "numpy"),
    ],
)
def test_it_imports_the_backend_that_is_asked_for_and_is_the_only_one(
    tmp_path, backend, options, named
):
    suite = write_suite(tmp_path / "suite.yaml", ORIGIN.replace("torch", backend))
    suite.write_text(f"defaults: {{backend: {backend}}}\n{suite.read_text()}")
    code, said = run(suite, *options)
    assert code == 0
    assert said == [f"launched: {named} True"]


def test_it_ends_where_a_suite_or_an_option_is_not_valid(tmp_path):
    wrong = write_suite(tmp_path / "wrong.yaml", "{id: a, kind: none}")
    code, said = run(wrong)
    assert (code, said) == (2, ["launched: torch True"])
    suite = write_suite(tmp_path / "suite.yaml", ORIGIN)
    code, said = run(suite, "--jobs", "none")
    assert code == 2
    assert [line.split()[-1] for line in said] == ["True"]


def test_there_is_none_where_cases_run_here(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", ORIGIN)
    assert run(suite, "--in-process", "--backend", "numpy") == (0, [])


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="this system has no /dev/stdin")
def test_a_suite_that_can_be_read_only_once_is_left_to_the_plan(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", ORIGIN).read_text()
    command = [sys.executable, "-m", "pcbench", "run", "/dev/stdin", "-q", "--backend", "numpy"]
    done = subprocess.run(command, input=suite, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
