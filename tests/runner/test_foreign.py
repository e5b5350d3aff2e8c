"""Cases and backends may be anybody's code: what they say wrongly must not cost the report."""

import numpy as np
import pytest

from pcbench.case import CaseParameters, Columns, Measurement
from pcbench.contract import Backend, BackendUnavailableError
from pcbench.registry import BACKENDS, BrokenPluginError
from pcbench.report import read_report, write_report
from tests.runner.scripted_cases import FAILED, OPEN, PASSED, planned, yielding

# A lone surrogate is valid in a string of Python, and in no UTF-8 file.
NASTY = "half \ud800 of a pair,\na second line, a \0 and an \x1b[31m escape"


class Labelled(CaseParameters):
    label: str


@pytest.fixture
def run_and_store(run, tmp_path):
    """Run cases, and return their report as it comes back from its file."""

    def run_and_store(*cases):
        report = run(*cases)
        write_report(report, tmp_path / "report.json")
        assert read_report(tmp_path / "report.json") == report
        return report

    return run_and_store


@pytest.mark.parametrize(
    "case",
    [
        yielding(then=ValueError(NASTY)),
        yielding(PASSED, Columns(NASTY, {NASTY: [1.0]})),
        yielding(PASSED, FAILED.at(NASTY)),
        yielding(PASSED, Measurement(NASTY, [0.1])),
    ],
    ids=["message", "series", "check", "timing"],
)
def test_text_that_no_file_could_hold_does_not_break_the_report(run_and_store, backend, case):
    backend.describe = lambda self: {NASTY: [NASTY]}
    parameters = Labelled(label=NASTY)
    nasty = planned(case, "nasty", parameters=parameters, device=NASTY)
    report = run_and_store(nasty, planned(yielding(PASSED), "sound"))
    assert [case.id for case in report.cases] == ["nasty", "sound"]
    assert report.cases[1].status == "passed"


def test_a_message_keeps_its_lines_and_shows_what_it_could_not_keep(run_and_store):
    [case] = run_and_store(planned(yielding(then=ValueError(NASTY)))).cases
    assert case.message == f"ValueError: {NASTY}".replace("\ud800", r"\ud800")


def columns(**values):
    """Make columns that their types, which are only checked under test, would refuse."""
    made = Columns("training", {})
    made.columns.update(values)
    return made


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (
            [PASSED, PASSED],
            "TypeError: a case yields checks, claims, measurements, columns, omissions and",
        ),
        (None, "not a value of type NoneType"),
        (columns(step=[0.0], loss=[]), "ValueError: the columns of 'training'"),
        (columns(loss=["low"]), "TypeError: must be real number, not str"),
        (Measurement("inference", []), "median"),
        (Measurement("inference", [float("nan")]), "finite number"),
        (PASSED.model_copy(update={"tolerance": -1.0}), "greater than 0"),
        (OPEN.model_copy(update={"high": float("inf")}), "finite number"),
    ],
)
def test_what_is_no_finding_is_an_error_of_the_case_and_never_lost(run_and_store, finding, words):
    [case] = run_and_store(planned(yielding(PASSED, finding))).cases
    assert case.status == "errored"
    assert words in case.message
    assert case.checks == [PASSED]


def test_a_case_that_is_no_generator_has_errored(run_one):
    case = run_one(planned(lambda _: None))
    assert case.status == "errored"
    assert "run() returned None; it has to yield what it finds" in case.message


def test_numbers_of_numpy_are_stored_as_numbers(run_and_store):
    found = columns(loss=[np.float32(0.5), np.float64("inf")], step=list(np.arange(2)))
    [case] = run_and_store(planned(yielding(PASSED, found))).cases
    assert case.series == {"training": {"loss": [0.5, None], "step": [0.0, 1.0]}}


# Backends


def test_a_backend_is_made_once_for_each_device_and_dtype_before_any_case(run, backend):
    def run_case(context):
        backend.calls.append(("run", context.backend.device, context.backend.dtype))
        yield PASSED

    run(
        planned(run_case, "a", device="cpu", dtype="float64"),
        planned(run_case, "b", device="cpu", dtype="float32"),
        planned(run_case, "c", device="cpu", dtype="float64"),
        planned(run_case, "d", device="cuda", dtype="float64"),
    )
    assert backend.calls == [
        ("made", "cpu", "float64"),
        ("made", "cpu", "float32"),
        ("made", "cuda", "float64"),
        ("run", "cpu", "float64"),
        ("run", "cpu", "float32"),
        ("run", "cpu", "float64"),
        ("run", "cuda", "float64"),
    ]


def test_the_report_holds_what_each_backend_says_of_itself(run):
    report = run(planned(yielding(PASSED), "a"), planned(yielding(PASSED), "b", device="cuda"))
    assert report.environment.backends == {
        "remembering cpu float64": {"device": "cpu"},
        "remembering cuda float64": {"device": "cuda"},
    }


def test_a_backend_that_cannot_be_had_is_known_before_any_case_runs(run, backend):
    def unavailable(self, device, dtype):
        raise BackendUnavailableError(f"no device {device!r}")

    def unreachable(_):
        raise AssertionError("no case runs")

    backend.__init__ = unavailable
    with pytest.raises(BackendUnavailableError, match="no device 'cpu'"):
        run(planned(unreachable))


@pytest.fixture
def doubles_only(backend):
    """A backend that computes in float64 alone."""

    def make(self, device, dtype):
        if dtype != "float64":
            raise BackendUnavailableError("this backend computes in float64; use --dtype float64")
        Backend.__init__(self, device, dtype)

    backend.__init__ = make


DOUBLE, SINGLE = (
    lambda **more: planned(yielding(PASSED), "double", **more),
    lambda **more: planned(yielding(PASSED), "single", dtype="float32", **more),
)


@pytest.mark.usefixtures("doubles_only")
def test_a_dtype_that_the_suite_asks_for_and_the_backend_lacks_skips_its_cases_alone(run_and_store):
    single, double = run_and_store(SINGLE(), DOUBLE()).cases
    assert (single.status, double.status) == ("skipped", "passed")
    assert single.message == "this backend computes in float64; use --dtype float64"
    assert (single.dtype, single.traceback, single.checks) == ("float32", "", [])


@pytest.mark.usefixtures("doubles_only")
@pytest.mark.parametrize(
    "cases",
    [
        [DOUBLE(), SINGLE(insisted=frozenset({"dtype"}))],
        [DOUBLE(device="cuda"), SINGLE()],
        [SINGLE()],
    ],
    ids=["asked for by option", "had on another device", "no other asked for"],
)
def test_a_backend_that_lacks_the_only_dtype_that_will_do_is_told_before_any_case(run, cases):
    with pytest.raises(BackendUnavailableError, match="computes in float64"):
        run(*cases)


def test_a_backend_that_breaks_as_it_is_made_is_told_in_a_sentence(run, backend):
    backend.__init__ = lambda self, device, dtype: 1 / 0
    with pytest.raises(BackendUnavailableError) as caught:
        run(planned(yielding(PASSED)))
    assert str(caught.value) == (
        "the backend 'remembering' cannot be made for 'cpu' and float64: "
        "ZeroDivisionError: division by zero"
    )


class Unfinished(Backend[object]):
    """Implements nothing of the contract."""


def test_a_backend_that_is_not_complete_is_told_in_a_sentence(run, monkeypatch):
    monkeypatch.setitem(BACKENDS._added, "unfinished", Unfinished)
    with pytest.raises(BackendUnavailableError, match="abstract class Unfinished"):
        run(planned(yielding(PASSED), backend="unfinished"))


def test_what_is_registered_as_a_backend_and_is_none_is_refused(run, monkeypatch):
    monkeypatch.setitem(BACKENDS._added, "impostor", dict)
    with pytest.raises(BrokenPluginError, match="'impostor' is <class 'dict'>, not a subclass"):
        run(planned(yielding(PASSED), backend="impostor"))


@pytest.mark.parametrize(
    ("describe", "words"),
    [
        (lambda self: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda self: {"device": object()}, "not a valid JSON"),
    ],
)
def test_a_backend_that_cannot_describe_itself_costs_no_result(
    run_and_store, backend, describe, words
):
    backend.describe = describe
    report = run_and_store(planned(yielding(PASSED)))
    assert report.summary.passed == 1
    [description] = report.environment.backends.values()
    assert words in description["error"]
