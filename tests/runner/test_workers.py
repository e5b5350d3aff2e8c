"""Whatever a case does to its process costs that case alone."""

import os
import sys
import time
from contextlib import suppress
from types import ModuleType

import pytest

from pcbench.data import Places
from pcbench.errors import UsageError
from pcbench.runner import Observer, Workers, run_suites
from pcbench.runner.workers.worker import Worker
from tests.runner import hostile_cases as hostile
from tests.runner.hostile_cases import planned
from tests.runner.scripted_cases import suite_of


def run(*cases, tmp_path, observer=None, **options):
    places = Places((tmp_path,), tmp_path / "cache")
    return run_suites(
        [suite_of(*cases)], places=places, observer=observer, executor=Workers(**options)
    )


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (hostile.Segfault, "killed by SIGSEGV"),
        (hostile.Exit, "exited with code 1"),
        (hostile.KillItself, "killed by SIGKILL"),
        (hostile.RaiseUnshowable, "UnshowableError, which cannot be shown"),
        (hostile.Unstorable, "TypeError"),
    ],
)
def test_a_case_that_breaks_its_process_has_errored_alone(kind, says, tmp_path):
    sound = hostile.Sound
    report = run(planned(sound, "a"), planned(kind), planned(sound, "b"), tmp_path=tmp_path)
    assert [case.status for case in report.cases] == ["passed", "errored", "passed"]
    assert says in report.cases[1].message
    assert report.exit_code == 3


def test_what_a_lost_case_wrote_last_is_kept_with_where_it_broke(tmp_path):
    [result] = run(planned(hostile.Segfault), tmp_path=tmp_path).cases
    assert "about to do harm" in result.traceback
    assert "in harm" in result.traceback


@pytest.mark.parametrize(
    "kind",
    [hostile.EndlessLoop, hostile.EndlessLoopInC, hostile.Deadlock],
    ids=lambda kind: kind.__name__,
)
def test_a_case_that_takes_too_long_is_stopped_and_says_where_it_was(kind, tmp_path):
    cases = planned(kind, timeout=0.5), planned(hostile.Sound)
    report = run(*cases, tmp_path=tmp_path, timeout_s=60)
    assert [case.status for case in report.cases] == ["timeout", "passed"]
    assert "more than the 0.5 s" in report.cases[0].message
    assert "in harm" in report.cases[0].traceback
    assert report.exit_code == 3


def test_the_runs_timeout_is_for_cases_that_have_none(tmp_path):
    cases = planned(hostile.Sleep, seconds=1.0, timeout=60.0), planned(hostile.Deadlock)
    report = run(*cases, tmp_path=tmp_path, timeout_s=0.5)
    assert [case.status for case in report.cases] == ["passed", "timeout"]


def test_a_case_may_not_take_more_memory_than_its_limit(tmp_path):
    limit = {"memory_limit": 2**28}
    cases = planned(hostile.MemoryHog, **limit), planned(hostile.Sound, **limit)
    report = run(*cases, tmp_path=tmp_path)
    assert [case.status for case in report.cases] == ["errored", "passed"]
    assert "Unable to allocate" in report.cases[0].message


def test_a_gigabyte_of_output_is_not_kept(tmp_path):
    [result] = run(planned(hostile.Chatter), tmp_path=tmp_path).cases
    assert (result.status, result.traceback) == ("passed", "")


def test_numbers_that_are_not_finite_are_stored_as_null(tmp_path):
    [result] = run(planned(hostile.NotFinite), tmp_path=tmp_path).cases
    assert result.series == {"series": {"x": [None, None]}}


def is_alive(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_a_child_that_a_case_leaves_behind_ends_with_the_run(tmp_path):
    file = tmp_path / "pid"
    run(planned(hostile.LeaveChild, file=str(file)), tmp_path=tmp_path)
    deadline = time.monotonic() + 10
    while is_alive(int(file.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(int(file.read_text()))


def fates(report):
    return [(case.id, case.status) for case in report.cases]


def test_what_an_earlier_case_left_behind_is_not_put_on_a_later_one(tmp_path):
    cases = planned(hostile.LeaveTimer), planned(hostile.Sleep, seconds=1.0)
    report = run(*cases, tmp_path=tmp_path)
    assert fates(report) == [("LeaveTimer", "passed"), ("Sleep", "passed")]


def test_a_child_that_goes_on_with_the_case_answers_for_nobody(tmp_path):
    cases = planned(hostile.Fork), planned(hostile.Sleep, seconds=1.0), planned(hostile.Sound)
    report = run(*cases, tmp_path=tmp_path)
    assert fates(report) == [("Fork", "passed"), ("Sleep", "passed"), ("Sound", "passed")]


def test_a_case_that_closes_the_pipes_of_its_worker_is_lost_at_once(tmp_path):
    cases = planned(hostile.CloseAllPipes), planned(hostile.Sound)
    report = run(*cases, tmp_path=tmp_path)
    assert fates(report) == [("CloseAllPipes", "errored"), ("Sound", "passed")]
    assert "has closed the pipe" in report.cases[0].message


def test_a_case_that_leaves_its_group_of_processes_is_stopped_too(tmp_path):
    cases = planned(hostile.LeaveGroup, timeout=0.5), planned(hostile.Sound)
    report = run(*cases, tmp_path=tmp_path)
    assert fates(report) == [("LeaveGroup", "timeout"), ("Sound", "passed")]


def test_a_kind_that_no_worker_can_import_is_errored_alone(tmp_path):
    class Local(hostile.Hostile):
        pass

    report = run(planned(Local), planned(hostile.Sound), tmp_path=tmp_path)
    assert fates(report) == [("Local", "errored"), ("Sound", "passed")]
    assert "--in-process" in report.cases[0].message


def test_a_kind_whose_module_is_gone_is_errored_alone(tmp_path, monkeypatch):
    module = ModuleType("module_that_is_nowhere")
    gone = type("Gone", (hostile.Hostile,), {"__module__": module.__name__})
    module.Gone = gone
    monkeypatch.setitem(sys.modules, module.__name__, module)
    report = run(planned(gone), planned(hostile.Sound), tmp_path=tmp_path)
    assert fates(report) == [("Gone", "errored"), ("Sound", "passed")]
    assert "module_that_is_nowhere" in report.cases[0].message


def test_a_timeout_is_in_force_while_others_finish(tmp_path):
    short = [planned(hostile.Sleep, f"s{n}", seconds=0.05) for n in range(60)]
    report = run(planned(hostile.Deadlock, timeout=0.5), *short, tmp_path=tmp_path, jobs=2)
    assert report.cases[0].status == "timeout"
    assert report.cases[0].duration_s < 3


def test_a_case_that_is_done_is_not_late_because_another_is(tmp_path):
    late = planned(hostile.Deadlock, timeout=2.0)
    in_time = planned(hostile.Sleep, seconds=2.0, timeout=2.3)
    report = run(planned(hostile.Sound), late, in_time, tmp_path=tmp_path, jobs=2)
    assert fates(report)[1:] == [("Deadlock", "timeout"), ("Sleep", "passed")]


def test_time_in_which_the_run_was_stopped_is_nobodys(tmp_path):
    """As by Ctrl-Z: nobody looks for a while, and an answer waits."""

    class Slow(Observer):
        def case_started(self, case):
            if case.id == "second":
                time.sleep(2.5)

    cases = (
        planned(hostile.Sleep, "first", seconds=1.0, timeout=2.0),
        planned(hostile.Sound, "second"),
    )
    report = run(*cases, tmp_path=tmp_path, jobs=2, observer=Slow())
    assert fates(report) == [("first", "passed"), ("second", "passed")]


def test_a_child_of_a_case_that_exits_ends_with_it(tmp_path):
    file = tmp_path / "pid"
    run(planned(hostile.LeaveChildAndExit, file=str(file)), tmp_path=tmp_path)
    deadline = time.monotonic() + 10
    while is_alive(int(file.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(int(file.read_text()))


def test_a_worker_that_never_answers_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("pcbench.runner.workers.pool.PATIENCE_S", 0.5)
    monkeypatch.setattr(Worker, "tell", lambda *_: None)
    with pytest.raises(UsageError, match=r"says nothing for 0\.5 s\. Try --in-process"):
        run(planned(hostile.Sound), tmp_path=tmp_path)


def test_a_run_of_no_cases_needs_no_worker(tmp_path):
    assert run(tmp_path=tmp_path, jobs=2).cases == []


def times(file):
    return tuple(float(each) for each in file.read_text().split())


def overlap(one, other):
    return times(one)[0] < times(other)[1] and times(other)[0] < times(one)[1]


def test_cases_run_side_by_side_but_for_one_that_asks_to_be_alone(tmp_path):
    files = {name: tmp_path / name for name in "abc"}
    kinds = {"a": hostile.Alone, "b": hostile.Crowd, "c": hostile.Crowd}
    cases = [planned(kinds[n], n, file=str(f), seconds=30.0) for n, f in files.items()]
    report = run(*cases, tmp_path=tmp_path, jobs=2)
    assert [case.id for case in report.cases] == ["a", "b", "c"]
    assert [case.contended for case in report.cases] == [False, True, True]
    assert overlap(files["b"], files["c"])
    assert not overlap(files["a"], files["b"])
    assert not overlap(files["a"], files["c"])


class Listener(Observer):
    def __init__(self):
        self.heard = []

    def case_started(self, case):
        self.heard.append(("started", case.id))

    def case_finished(self, result):
        self.heard.append((result.status, result.id))


def test_an_observer_hears_of_every_case(tmp_path):
    listener = Listener()
    run(planned(hostile.Sound), planned(hostile.Exit), tmp_path=tmp_path, observer=listener)
    assert listener.heard == [
        ("started", "Sound"),
        ("passed", "Sound"),
        ("started", "Exit"),
        ("errored", "Exit"),
    ]
