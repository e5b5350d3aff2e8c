"""Whatever runs the cases, the numbers are the same, bit for bit."""

import pytest

from pcbench.report import merge_reports
from pcbench.runner import InProcess, Workers, run_suites
from tests.helpers.toy_suites import ENERGY, ON_MNIST, ORIGIN, UNFINISHED, load_suite, write_suite


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "suite.yaml"
    return load_suite(write_suite(path, ENERGY, ORIGIN, UNFINISHED, ON_MNIST))


def numbers(report):
    """Return all that a run found but times, by case."""
    kept = {"id", "suite", "parameters", "status", "message", "checks", "claims", "series"}
    return [case.model_dump(include=kept) for case in report.cases]


@pytest.fixture(scope="module")
def here(suite):
    return numbers(run_suites([suite], executor=InProcess()))


@pytest.mark.parametrize("jobs", [1, 2])
def test_workers_find_what_this_process_finds(suite, here, jobs):
    assert numbers(run_suites([suite], executor=Workers(jobs))) == here


def test_shards_that_are_merged_find_it_too(suite, here):
    shards = {f"shard {i}": run_suites([suite], shard=(i, 2)) for i in (1, 2)}
    assert [len(report.cases) for report in shards.values()] == [2, 2]
    assert numbers(merge_reports(shards)) == here
