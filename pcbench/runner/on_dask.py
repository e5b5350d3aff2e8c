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
from contextlib import ExitStack
from importlib import import_module
from time import monotonic
from types import TracebackType
from typing import Any, Self

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
GPU = "GPU"
"""The resource of dask workers that cases on a CUDA device ask for."""

Settings = tuple[tuple[Asked, ...], Places, int, float | None]
"""Backends that are asked for, where data are, threads of a case, and its seconds."""

_own: Any = threading.local()


def describe_there(settings: Settings) -> dict[str, dict[str, Any]]:
    """Make backends in a worker process of a dask worker, and return what they say."""
    asked, places, threads, timeout_s = settings
    with Workers(1, threads, timeout_s) as workers:
        return workers.make(asked, places)


def run_there(content: bytes, settings: Settings) -> str:
    """Run a case in a worker process of a dask worker, and return its result as JSON."""
    if getattr(_own, "settings", None) != settings:
        asked, places, threads, timeout_s = settings
        _own.workers = Workers(1, threads, timeout_s)
        _own.workers.make(asked, places)
        _own.settings = settings
    [(_, result)] = _own.workers.run([pickle.loads(content)], Observer())
    return str(result.model_dump_json())


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

    def __init__(
        self,
        scheduler: str = "",
        jobs: int = 1,
        threads: int = 1,
        timeout_s: float | None = None,
    ) -> None:
        self._scheduler, self.jobs, self.threads = scheduler, jobs, threads
        self._width, self._timeout_s = threads, timeout_s
        self._opened = ExitStack()
        self._client: Any = None
        self._settings: Settings

    def __enter__(self) -> Self:
        try:
            distributed: Any = import_module("distributed")
        except ImportError as error:
            raise UsageError(f"dask is missing ({error}); pip install 'pcbench[dask]'") from error
        address: Any = self._scheduler
        if not address:
            address = self._opened.enter_context(
                distributed.LocalCluster(
                    n_workers=self.jobs,
                    threads_per_worker=1,
                    dashboard_address=":0",  # any port that is free
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = distributed.Client(address, timeout=PATIENCE_S)
            self._client = self._opened.enter_context(client)
            self._client.wait_for_workers(1, timeout=PATIENCE_S)
        except (OSError, TimeoutError, ValueError) as error:
            self._opened.close()
            raise UsageError(
                f"--scheduler {self._scheduler}: no scheduler with a worker answers there within "
                f"{PATIENCE_S:g} s ({type(error).__name__}: {error}); start both, or check it"
            ) from error
        self.jobs = sum(each["nthreads"] for each in self._known_workers())
        return self

    def _known_workers(self) -> list[dict[str, Any]]:
        # Not in the default form, which leaves out all but the first few.
        found = self._client.scheduler_info(n_workers=-1)["workers"]
        return list(found.values())

    def prepare(self, plan: Sequence[PlannedCase], places: Places) -> dict[str, dict[str, Any]]:
        """Make the backends of a plan on some worker of the cluster."""
        if self._lacks(_resources(plan)):  # each of those cases is told so
            plan = [case for case in plan if not _resources([case])]
        self._settings = (tuple(asked_for(plan)), places, self._width, self._timeout_s)
        if not plan:
            return {}
        needs = _resources(plan)
        made = self._client.submit(describe_there, self._settings, resources=needs, pure=False)
        return dict(made.result())

    def run(
        self, cases: Sequence[PlannedCase], observer: Observer
    ) -> Iterator[tuple[int, CaseResult]]:
        """Run cases, and yield each as soon as it is there."""
        places: dict[Any, int] = {}
        for index, case in enumerate(cases):
            observer.case_started(case)
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
            places[task] = index
        began = monotonic()
        for task in import_module("distributed").as_completed(list(places)) if places else ():
            index = places.pop(task)
            yield index, self._result(task, cases[index], began)

    def _result(self, task: Any, case: PlannedCase, began: float) -> CaseResult:
        """Return the result of a task that is over, whatever became of it."""
        if task.status == "finished":
            found = CaseResult.model_validate_json(task.result())
            return found.model_copy(update={"contended": self.jobs > 1})
        error = task.exception()
        reason = f"The task was lost on the cluster: {type(error).__name__}: {error}"
        return without_verdict(case, "errored", reason, duration_s=monotonic() - began)

    def _lacks(self, needs: dict[str, int]) -> str:
        """Say that no worker has what a case needs, for which dask would wait for ever."""
        for name, count in needs.items():
            if not any(each["resources"].get(name, 0) >= count for each in self._known_workers()):
                return (
                    f"No worker of the cluster has the resource {name} that the case needs: start "
                    f"one with dask worker --resources {name}={count}, or choose another device."
                )
        return ""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()


def _resources(cases: Sequence[PlannedCase]) -> dict[str, int]:
    return {GPU: 1} if any(case.device.startswith("cuda") for case in cases) else {}
