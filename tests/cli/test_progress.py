"""What is shown while a run goes on: counts, failures as they happen, a clock for each stage."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import Progress

from pcbench.cli.live import MOST_OF_A_MESSAGE, _WatchedAudit, _WatchedRun
from pcbench.report import CaseResult
from tests.helpers.toy_suites import ORIGIN, write_suite


def result(case, status, message="", suite=""):
    told = CaseResult.model_construct(
        id=case, status=status, message=message, duration_s=1.0, suite=suite
    )
    assert told.id == case
    return told


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def progress(clock):
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    return Progress(console=console, get_time=lambda: clock[0], auto_refresh=False)


def test_the_live_display_counts_whatever_statuses_there_are(progress):
    live = _WatchedRun(progress)
    live.run_started(4)
    for case, status in enumerate(("passed", "failed", "undecided", "passed")):
        live.case_finished(result(f"case-{case}", status))
    run = progress.tasks[0]
    assert (run.completed, run.total) == (4, 4)
    assert run.fields["note"] == "2 passed, 1 failed, 1 undecided"


def test_a_failure_stays_above_the_live_display_as_soon_as_it_happens(progress):
    live = _WatchedRun(progress)
    live.case_finished(result("good", "passed"))
    live.case_finished(result("bad[width=3]", "failed", "the loss\nis off"))
    assert progress.console.file.getvalue() == "failed bad[width=3]\n    the loss is off\n"


def test_the_clock_of_a_stage_starts_at_the_stage(progress, clock):
    live = _WatchedRun(progress)
    case = SimpleNamespace(id="a")
    live.case_started(case)
    live.stage_advanced(case, "training", 0, 2)
    clock[0] = 100.0
    live.stage_advanced(case, "training", 1, 2)
    assert progress.tasks[-1].elapsed == 100.0
    live.stage_advanced(case, "eigenvalues", 0, 5)
    clock[0] = 103.0
    live.stage_advanced(case, "eigenvalues", 1, 5)
    stage = progress.tasks[-1]
    assert (stage.elapsed, stage.completed, stage.total) == (3.0, 1, 5)


@pytest.mark.parametrize("watched", [_WatchedRun, _WatchedAudit])
def test_a_log_begins_with_what_a_selection_selects(capsys, watched):
    watched().cases_selected("mnist1d and tanh", selected=12, of=63)
    assert capsys.readouterr().err == "-k 'mnist1d and tanh' selects 12 of 63 cases\n"


def test_a_log_tells_why_a_case_failed_when_it_fails(capsys):
    lines = _WatchedRun()
    lines.run_started(3)
    lines.case_finished(result("bad", "failed", "word " * MOST_OF_A_MESSAGE))
    first, why = capsys.readouterr().err.splitlines()
    assert first == "[1/3] failed bad (1.0 s)"
    assert why == "    " + "word " * (MOST_OF_A_MESSAGE // 5) + " …"
    lines.case_finished(result("absent", "skipped", "no such file"))
    assert capsys.readouterr().err == "[2/3] skipped absent (1.0 s)\n"


def test_progress_names_the_suite_of_a_case_where_several_run(capsys, progress):
    lines = _WatchedRun(named=True)
    lines.run_started(2)
    lines.case_finished(result("a[width=3]", "passed", suite="theory"))
    assert capsys.readouterr().err == "[1/2] passed theory: a[width=3] (1.0 s)\n"
    bars = _WatchedRun(progress, named=True)
    bars.case_finished(result("bad", "failed", "off", suite="paper"))
    assert progress.console.file.getvalue() == "failed paper: bad\n    off\n"


def test_a_run_of_several_suites_names_them_in_its_log(invoke, tmp_path):
    suites = [
        write_suite(tmp_path / f"{name}.yaml", ORIGIN, name=name) for name in ("one", "other")
    ]
    lines = [line.rpartition(" (")[0] for line in invoke("run", *suites).err.splitlines()]
    assert lines == ["[1/2] passed one: origin", "[2/2] passed other: origin"]
    (line,) = invoke("run", suites[0]).err.splitlines()
    assert line.startswith("[1/1] passed origin (")
