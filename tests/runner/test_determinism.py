"""A case's numbers depend on its seed, its identifier and its parameters, and on nothing else."""

import pytest

from pcbench.runner import run_suites
from tests.helpers.toy_suites import ENERGY, ORIGIN, UNFINISHED, load_suite, write_suite

CASES = (ENERGY, ORIGIN, UNFINISHED)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """Run cases and return all their numbers but the timings, by case."""

    def numbers(*cases, **options):
        suite = write_suite(tmp_path_factory.mktemp("suite") / "suite.yaml", *cases)
        report = run_suites([load_suite(suite, **options)])
        return {case.id: (case.checks, case.series) for case in report.cases}

    return numbers


@pytest.fixture(scope="module")
def first(numbers):
    return numbers(*CASES)


def test_a_run_repeated_gives_the_same_numbers_bit_for_bit(numbers, first):
    assert numbers(*CASES) == first


def test_the_order_of_cases_changes_no_number(numbers, first):
    assert numbers(*reversed(CASES)) == first


@pytest.mark.parametrize(
    ("select", "chosen"),
    [
        ("origin", ["origin"]),
        ("unfinished", ["unfinished"]),
        ("not unfinished", ["energy", "origin"]),
    ],
)
def test_what_else_runs_changes_no_number(numbers, first, select, chosen):
    assert numbers(*CASES, select=select) == {name: first[name] for name in chosen}


def test_another_seed_changes_the_numbers_of_every_case_that_draws(numbers, first):
    other = numbers(*CASES, overrides=["seed=1"])
    for name in first:
        assert other[name] != first[name]


def test_another_identifier_draws_other_numbers(numbers, first):
    renamed = numbers(ENERGY.replace("id: energy", "id: renamed"))
    assert renamed["renamed"] != first["energy"]
