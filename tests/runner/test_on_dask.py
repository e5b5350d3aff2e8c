"""Cases on a dask cluster, with the numbers and the fates that they have anywhere."""

import os
import signal
import threading
import time

import pytest

from pcbench.data import Places
from pcbench.errors import UsageError
from pcbench.runner import InProcess, OnDask, on_dask, run_suites
from tests.helpers.interruptions import interruptible
from tests.helpers.toy_suites import ENERGY, ORIGIN, UNFINISHED, load_suite, write_suite
from tests.runner import hostile_cases as hostile
from tests.runner.hostile_cases import planned
from tests.runner.scripted_cases import suite_of
from tests.runner.test_executors import numbers

distributed = pytest.importorskip("distributed")
# Sockets that distributed leaves to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def cluster():
    """A cluster that is there before the run, of two workers without a GPU."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster


def run(*cases, tmp_path, **options):
    places = Places((tmp_path,), tmp_path / "cache")
    return run_suites([suite_of(*cases)], places=places, executor=OnDask(**options))


def test_a_cluster_finds_what_this_process_finds(tmp_path, cluster):
    suite = load_suite(write_suite(tmp_path / "suite.yaml", ENERGY, ORIGIN, UNFINISHED))
    there = run_suites([suite], executor=OnDask(cluster.scheduler_address))
    assert numbers(there) == numbers(run_suites([suite], executor=InProcess()))
    assert there.jobs == 2


def test_a_local_cluster_needs_no_scheduler(tmp_path):
    report = run(planned(hostile.Sound), tmp_path=tmp_path, jobs=1)
    assert [case.status for case in report.cases] == ["passed"]


def test_a_case_that_breaks_its_process_or_takes_too_long_costs_itself_alone(tmp_path, cluster):
    kinds = (hostile.Exit, hostile.KillItself, hostile.Deadlock, hostile.Sound)
    cases = [planned(kind, timeout=2.0) for kind in kinds]
    report = run(*cases, tmp_path=tmp_path, scheduler=cluster.scheduler_address)
    assert [case.status for case in report.cases] == ["errored", "errored", "timeout", "passed"]
    assert "exited with code 1" in report.cases[0].message


def test_what_a_worker_had_that_is_killed_runs_elsewhere(tmp_path, cluster):
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        pids = list(client.run(os.getpid).values())
    killer = threading.Timer(2.0, os.kill, (pids[0], signal.SIGKILL))
    killer.start()
    cases = [planned(hostile.Sleep, f"s{n}", seconds=1.0) for n in range(6)]
    report = run(*cases, tmp_path=tmp_path, scheduler=cluster.scheduler_address)
    killer.join()
    assert [case.status for case in report.cases] == ["passed"] * 6


def test_a_case_that_no_worker_can_take_says_so_at_once(tmp_path, cluster):
    begun = time.monotonic()
    cases = planned(hostile.Sound, "gpu", device="cuda"), planned(hostile.Sound, "cpu")
    report = run(*cases, tmp_path=tmp_path, scheduler=cluster.scheduler_address)
    assert [case.status for case in report.cases] == ["errored", "passed"]
    assert "No worker of the cluster has the resource GPU" in report.cases[0].message
    assert time.monotonic() - begun < 60


def processes(cluster):
    """Return the worker processes of pcbench on a cluster."""
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        return sum(len(each) for each in client.run(lambda: list(on_dask._there)).values())


def test_nothing_of_a_run_is_left_on_the_cluster(tmp_path, cluster):
    for _ in range(2):
        run(planned(hostile.Sound), tmp_path=tmp_path, scheduler=cluster.scheduler_address)
        assert processes(cluster) == 0


def test_a_case_goes_with_its_run(tmp_path, cluster):
    def interrupt():
        deadline = time.monotonic() + 30
        while not processes(cluster) and time.monotonic() < deadline:
            time.sleep(0.1)
        signal.raise_signal(signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    case = planned(hostile.Sleep, seconds=60.0)
    with interruptible():
        report = run(case, tmp_path=tmp_path, scheduler=cluster.scheduler_address)
    interrupting.join()
    assert report.interrupted
    assert processes(cluster) == 0


def test_a_cluster_without_workers_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(on_dask, "_EVERY_S", 0.1)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as small:
        ending = threading.Timer(3.0, small.scale, (0,))
        ending.start()

        def shorten():
            monkeypatch.setattr(on_dask, "PATIENCE_S", 1.0)

        shortening = threading.Timer(3.0, shorten)
        shortening.start()
        case = planned(hostile.Sleep, seconds=60.0)
        with pytest.raises(UsageError, match="has had no worker for 1 s, and 1 cases are left"):
            run(case, tmp_path=tmp_path, scheduler=small.scheduler_address)


def test_a_scheduler_that_is_not_there_is_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("pcbench.runner.on_dask.PATIENCE_S", 0.5)
    with pytest.raises(UsageError, match="no scheduler with a worker answers within"):
        run(planned(hostile.Sound), tmp_path=tmp_path, scheduler="tcp://127.0.0.1:1")
