"""`theory.yaml` turns red for every faulty backend, and every check in it is turned red by one."""

from __future__ import annotations

from functools import cache

import pytest

from pcbench.report import Report
from pcbench.runner import run_suites
from pcbench.suite import load_suites
from tests.cases.faulty.backends import FAULTS
from tests.helpers.plugged_in import plugged_in

pytestmark = pytest.mark.usefixtures("timed_twice", "without_shapes")

# A part of the shipped suite with every check in it; training made short and networks narrow.
ENERGY = "toy_gaussian and hidden_layers=2 and not chain"
SMALLER = ["training.steps=1", "training.batch=16", "data.samples=16", "network.width=12"]
TOY = "toy_gaussian or 2d or 3d or chain"
HESSIANS = "2d or (saddle and not mnist)"


@cache
def verdict(backend: str, dtype: str) -> Report:
    """Run the suite, made small."""
    chosen = [f"backend={backend}", f"dtype={dtype}"]
    return run_suites(
        [
            *load_suites(["theory"], overrides=[*SMALLER, *chosen], select=ENERGY),
            *load_suites(["theory"], overrides=chosen, select=HESSIANS),
        ]
    )


@pytest.fixture(scope="module", autouse=True)
def _faulty_backends_registered():
    with plugged_in(FAULTS):
        yield


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_correct_backend_passes(dtype):
    report = verdict("torch", dtype)
    assert report.summary.passed == len(report.cases) > 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_backend_fails(name, dtype):
    report = verdict(name, dtype)
    assert report.summary.failed > 0
    assert report.summary.errored == 0, [case.message for case in report.cases]
    assert report.exit_code == 1


def checks_of(report: Report) -> set[str]:
    return {check.name for case in report.cases for check in case.checks}


def test_the_part_of_the_suite_run_here_makes_every_check_of_the_whole():
    whole = run_suites(load_suites(["theory"], overrides=["training.steps=0"], select=TOY))
    assert checks_of(whole) == checks_of(verdict("torch", "float64"))


def test_every_check_of_the_suite_is_failed_by_some_fault():
    made = checks_of(verdict("torch", "float64"))
    failed = {
        check.name
        for name in FAULTS
        for case in verdict(name, "float64").cases
        for check in case.checks
        if not check.passed
    }
    assert made - failed == set()
