"""Cases on a dask cluster: one that is there, or a local one (extra ``dask``).

A task hands its case to a worker process of its own, so that limits are those of any run and no
case ends a dask worker. What is left to dask is where cases run, and running again elsewhere what
was on a machine that is gone.
"""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from importlib import import_module
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Self
from uuid import uuid4

from pcbench.data import Places
from pcbench.errors import UsageError
from pcbench.report import CaseResult
from pcbench.runner.case import without_verdict
from pcbench.runner.context import Observer
from pcbench.runner.environment import Asked, asked_for
from pcbench.runner.executor import Executor
from pcbench.runner.workers import Workers, no_worker_takes
from pcbench.suite import PlannedCase

PATIENCE_S = 60.0
"""How long to wait for a scheduler, and for its first worker."""
_EVERY_S = 1.0
"""How often the cluster is looked after, where nothing comes from it."""
GPU = "GPU"
"""The resource of dask workers that cases on a CUDA device ask for."""

Settings = tuple[str, Places, int, float | None]
"""A name of the run, where data are, threads of a case, and its seconds."""

# In a dask worker: what each of its threads runs cases with, and for which run.
_there: dict[int, tuple[str, Workers]] = {}


def describe_there(asked: Sequence[Asked], settings: Settings) -> dict[str, dict[str, Any]]:
    """Make backends in a worker process of a dask worker, and return what they say."""
    _, places, threads, timeout_s = settings
    with Workers(1, threads, timeout_s) as workers:
        return workers.make(asked, places)


def run_there(content: bytes, settings: Settings) -> str:
    """Run a case in a worker process of a dask worker, and return its result as JSON."""
    run, places, threads, timeout_s = settings
    thread = threading.get_ident()
    if thread not in _there or _there[thread][0] != run:
        end_there("", thread)
        workers = Workers(1, threads, timeout_s)
        _there[thread] = run, workers
        workers.make((), places)  # each case asks for its own backend
    [(_, result)] = _there[thread][1].run([pickle.loads(content)], Observer())
    return str(result.model_dump_json())


def end_there(run: str, thread: int = 0) -> None:
    """End the worker processes of a run, or that of a thread."""
    for each, (own, workers) in list(_there.items()):
        if run == own or each == thread:
            del _there[each]
            workers.close()


class OnDask(Executor):
    """Runs cases as tasks of dask, which ask for ``GPU: 1`` where they compute with CUDA.

    Parameters
    ----------
    scheduler
        The address of a scheduler; a local cluster of ``jobs`` workers if empty.
    jobs
        Workers of a local cluster; of another, as many cases run as its workers have threads.
    threads, timeout_s
        As of :class:`Workers`.
    """

    threads: int

    def __init__(
        self,
        scheduler: str = "",
        jobs: int = 1,
        threads: int = 1,
        timeout_s: float | None = None,
    ) -> None:
        self._scheduler, self.jobs, self.threads = scheduler, jobs, threads
        self._timeout_s = timeout_s
        self._opened = ExitStack()
        self._client: Any = None
        self._run = uuid4().hex
        self._settings: Settings

    def __enter__(self) -> Self:
        try:
            distributed: Any = import_module("distributed")
        except ImportError as error:
            raise UsageError(f"dask is missing ({error}); pip install 'pcbench[dask]'") from error
        address: Any = self._scheduler
        try:
            if not address:
                address = self._opened.enter_context(
                    distributed.LocalCluster(
                        n_workers=self.jobs,
                        threads_per_worker=1,
                        dashboard_address=":0",  # any port that is free
                        silence_logs=logging.CRITICAL,
                    )
                )
            client = distributed.Client(address, timeout=PATIENCE_S)
            self._client = self._opened.enter_context(client)
            self._client.wait_for_workers(1, timeout=PATIENCE_S)
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            self._opened.close()
            where = f"--scheduler {self._scheduler}" if self._scheduler else "a local cluster"
            raise UsageError(
                f"{where}: no scheduler with a worker answers within {PATIENCE_S:g} s "
                f"({type(error).__name__}: {error}); start both, or check the address"
            ) from error
        self.jobs = sum(each["nthreads"] for each in self._known_workers())
        return self

    def _known_workers(self) -> list[dict[str, Any]]:
        return list(self._client.scheduler_info()["workers"].values())

    def prepare(self, plan: Sequence[PlannedCase], places: Places) -> dict[str, dict[str, Any]]:
        """Make the backends of a plan on some worker of the cluster."""
        if self._lacks(_resources(plan)):  # each of those cases is told so
            plan = [case for case in plan if not _resources([case])]
        self._settings = (self._run, places, self.threads, self._timeout_s)
        if not plan:
            return {}
        made = self._client.submit(
            describe_there, asked_for(plan), self._settings, resources=_resources(plan), pure=False
        )
        try:
            return dict(made.result())
        except UsageError:
            raise
        except Exception as error:  # what became of it on another machine
            reason = f"{type(error).__name__}: {error}"
            raise UsageError(
                f"no worker of the cluster can make the backends: {reason}; pcbench has to be "
                "installed there in the same version"
            ) from error

    def run(
        self, cases: Sequence[PlannedCase], observer: Observer
    ) -> Iterator[tuple[int, CaseResult]]:
        """Run cases, and yield each as soon as it is there; none is told to have started."""
        over: SimpleQueue[Any] = SimpleQueue()
        tasks: dict[str, tuple[int, Any]] = {}  # those left; dask forgets what nobody holds
        for index, case in enumerate(cases):
            needs = _resources([case])
            if reason := self._lacks(needs):
                yield index, without_verdict(case, "errored", reason)
                continue
            try:
                content = pickle.dumps(case)
            except Exception as error:
                yield index, no_worker_takes(case, error)
                continue
            task = self._client.submit(
                run_there, content, self._settings, resources=needs, pure=False
            )
            tasks[task.key] = index, task
            task.add_done_callback(over.put)
        seen = monotonic()  # a worker
        while tasks:
            try:
                task = over.get(timeout=_EVERY_S)
            except Empty:
                seen = self._look_after(seen, len(tasks))
                continue
            index, _ = tasks.pop(task.key)
            yield index, self._result(task, cases[index])

    def _look_after(self, seen: float, left: int) -> float:
        """Return when a worker was last seen; without any for long, nothing would ever come."""
        if self._client.status == "running" and self._known_workers():
            return monotonic()
        if monotonic() - seen > PATIENCE_S:
            raise UsageError(
                f"the cluster has had no worker for {PATIENCE_S:g} s, and {left} cases are left; "
                "what is finished is in the journal: start workers, and --resume"
            )
        return seen

    def _result(self, task: Any, case: PlannedCase) -> CaseResult:
        """Return the result of a task that is over, whatever became of it."""
        if task.status == "finished":
            found = CaseResult.model_validate_json(task.result())
            return found.model_copy(update={"contended": self.jobs > 1})
        error = task.exception() if task.status == "error" else None
        told = f"{type(error).__name__}: {error}" if error else f"its task was {task.status}"
        return without_verdict(case, "errored", f"The cluster has no result of the case: {told}.")

    def _lacks(self, needs: dict[str, int]) -> str:
        """Say that no worker has what a case needs, for which dask would wait for ever."""
        for name, count in needs.items():
            if not any(each["resources"].get(name, 0) >= count for each in self._known_workers()):
                return (
                    f"No worker of the cluster has the resource {name} that the case needs: start "
                    f"one with dask worker --resources {name}={count}, or choose another device."
                )
        return ""

    def close(self) -> None:
        """End what the run has on the cluster, and a local cluster as a whole."""
        if self._client is not None and self._client.status == "running":
            with suppress(Exception):  # of a cluster that is going down
                self._client.run(end_there, self._run, on_error="ignore")
        self._opened.close()


def _resources(cases: Sequence[PlannedCase]) -> dict[str, int]:
    return {GPU: 1} if any(case.device.startswith("cuda") for case in cases) else {}
