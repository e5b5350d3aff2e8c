"""Every check that has a tolerance fails for a fault two tolerances large, in what it reads."""

import pytest

from pcbench.registry import CASES
from tests.cases.tolerances.walk import (
    PROBLEMS,
    READ,
    SLOW,
    UNREACHED,
    found,
    read_by,
    right,
    unreached,
    walked,
)

pytestmark = pytest.mark.usefixtures("without_shapes")


def per_problem():
    return [
        pytest.param(problem, marks=[pytest.mark.slow] if problem in SLOW else [])
        for problem in PROBLEMS
    ]


def test_every_kind_is_walked():
    assert {problem.kind for problem in PROBLEMS.values()} == set(CASES.names())


def test_the_tables_are_about_what_is_walked():
    owners = {problem.kind for problem in PROBLEMS.values()} | set(PROBLEMS)
    assert set(READ) <= owners
    assert {owner for owner, _ in UNREACHED} <= owners


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_every_check_with_a_tolerance_reads_is_known(problem):
    assert all(check.passed for check in right(problem).values())
    unknown = [
        name for name in walked(problem) if not (read_by(problem, name) or unreached(problem, name))
    ]
    assert unknown == []


@pytest.mark.parametrize("problem", per_problem())
def test_a_fault_of_two_tolerances_fails_its_check(problem):
    for name in walked(problem):
        if not unreached(problem, name):
            found(problem, name, read_by(problem, name))


def test_escape_times_that_are_a_tenth_off_fail():
    problem = "law of one hidden layer"
    for name in walked(problem):
        if "steps" in name:
            assert abs(found(problem, name, read_by(problem, name))) < 0.1
