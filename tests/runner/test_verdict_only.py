"""A case whose verdict is all that is wanted: left at its first failure, and nothing is timed."""

import pytest

from pcbench.data import Places
from pcbench.runner import Observer
from pcbench.runner.case import run_case
from tests.runner.scripted_cases import (
    FAILED,
    PASSED,
    UNDECIDED,
    RememberingBackend,
    planned,
    yielding,
)


@pytest.fixture
def verdict(tmp_path):
    class Remembering(RememberingBackend):
        calls = []  # noqa: RUF012 - this test's own

    def verdict(case, **options):
        return run_case(case, Remembering, Places((), tmp_path), Observer(), **options)

    return verdict


@pytest.mark.parametrize(
    ("verdict_only", "found"), [(False, [PASSED, FAILED, PASSED]), (True, [PASSED, FAILED])]
)
def test_a_case_is_left_at_its_first_failure(verdict, verdict_only, found):
    case = planned(yielding(PASSED, FAILED, PASSED))
    result = verdict(case, verdict_only=verdict_only)
    assert (result.status, result.checks) == ("failed", found)


def test_what_comes_after_a_failure_is_not_even_asked_for(verdict):
    case = planned(yielding(FAILED, then=RuntimeError("never")))
    assert verdict(case).status == "errored"
    assert verdict(case, verdict_only=True).status == "failed"


def test_a_case_that_passes_is_run_to_its_end(verdict):
    result = verdict(planned(yielding(PASSED, PASSED)), verdict_only=True)
    assert (result.status, result.checks) == ("passed", [PASSED, PASSED])


def test_a_check_that_cannot_tell_is_no_reason_to_stop(verdict):
    result = verdict(planned(yielding(UNDECIDED, FAILED)), verdict_only=True)
    assert (result.status, result.checks) == ("failed", [UNDECIDED, FAILED])


@pytest.mark.parametrize(("verdict_only", "repeated"), [(False, True), (True, False)])
def test_work_is_done_once_where_nobody_asks_for_its_time(verdict, verdict_only, repeated):
    done = []

    def run(context):
        yield PASSED
        yield context.measure("work", lambda: done.append(1))

    result = verdict(planned(run), verdict_only=verdict_only)
    assert result.status == "passed"
    assert (len(done) > 1) == repeated
