"""Cases in worker processes, so that whatever one does to its process costs that case alone.

Executors of the standard library and loky share a queue among their workers, so that one that dies
fails all that waits. Here a worker has one case at a time and pipes of its own, which nobody else
waits for. That takes ``subprocess``, two threads a worker that read its pipes, and a queue of what
they hear.
"""

from __future__ import annotations

import pickle
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from pcbench.data import Places
from pcbench.errors import UsageError
from pcbench.launch import launch
from pcbench.report import CaseResult, CaseStatus
from pcbench.runner.case import without_verdict
from pcbench.runner.context import Observer
from pcbench.runner.environment import Asked, asked_for
from pcbench.runner.executor import Executor
from pcbench.runner.workers.messages import (
    Begun,
    Done,
    Prepare,
    Prepared,
    Refused,
    Stage,
    Task,
    Unreadable,
)
from pcbench.runner.workers.worker import LAST_WORDS_S, PATIENCE_S, Heard, Running, Worker
from pcbench.suite import PlannedCase

EVERY_S = 0.2
"""How often workers are looked after."""


class Workers(Executor):
    """Runs cases in worker processes, several at a time.

    Parameters
    ----------
    jobs
        How many cases run at a time.
    threads
        How many threads the linear algebra of a worker may have. Sums of many terms depend on it in
        their last bits, so it does not depend on ``jobs``.
    timeout_s
        Seconds that a case may take which has no ``timeout`` of its own.
    first
        A worker process that is started already, with as many threads.
    """

    threads: int

    def __init__(
        self,
        jobs: int = 1,
        threads: int = 1,
        timeout_s: float | None = None,
        first: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.jobs, self.threads = jobs, threads
        self._timeout_s = inf if timeout_s is None else timeout_s
        self._workers: list[Worker] = []
        self._heard: Heard = SimpleQueue()
        self._places: Places
        self._asked: Sequence[Asked] = ()
        self._tasks = 0
        self._looked = 0.0
        self._closed = False
        # Started, and not told anything yet.
        self._waiting = [Worker(first, self._heard)] if first else []

    def prepare(self, plan: Sequence[PlannedCase], places: Places) -> dict[str, dict[str, Any]]:
        """Make the backends of a plan, in the first worker."""
        return self.make(asked_for(plan), places, min(self.jobs, len(plan))) if plan else {}

    def make(
        self, asked: Sequence[Asked], places: Places, workers: int = 1
    ) -> dict[str, dict[str, Any]]:
        """Start workers, make backends in the first, and return what each says of itself."""
        self._places, self._asked = places, asked
        first = self._start()
        for _ in range(workers - 1):
            self._start()
        deadline = monotonic() + PATIENCE_S
        reason = f"it says nothing for {PATIENCE_S:g} s"
        while monotonic() < deadline:
            speaker, message = self._next() or (None, None)
            if speaker is not first:
                continue
            if isinstance(message, Prepared):
                return message.descriptions
            if isinstance(message, Refused):
                raise UsageError(message.reason)
            reason = first.ended()
            break
        wrote = first.last_words()
        raise UsageError(f"no worker can work: {reason}. Try --in-process. {wrote}".strip())

    def run(
        self, cases: Sequence[PlannedCase], observer: Observer
    ) -> Iterator[tuple[int, CaseResult]]:
        """Run cases, those that are to run alone after all others."""
        together = deque(i for i, case in enumerate(cases) if not case.case.alone)
        alone = deque(i for i, case in enumerate(cases) if case.case.alone)
        again: set[int] = set()
        self._looked = monotonic()
        while together or alone or self._busy:
            waiting = together or (alone if not self._busy else deque())
            if waiting and len(self._busy) < self.jobs:
                index = waiting.popleft()
                failed = self._begin(index, cases[index], observer, told=index in again)
                if failed:
                    yield index, failed
                continue
            for worker, result in self._results(observer):
                running, worker.running = worker.running, None
                assert running
                if result is None and worker.served and running.index not in again:
                    # An earlier case may have left behind what ended it.
                    again.add(running.index)
                    (alone if running.case.case.alone else together).appendleft(running.index)
                else:
                    found = result or self._lost(worker, running)
                    yield running.index, found.model_copy(update={"contended": running.contended})
                worker.served += 1
                if result is None or not worker.alive:
                    self._end(worker)

    @property
    def _busy(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.running]

    def _begin(
        self, index: int, case: PlannedCase, observer: Observer, *, told: bool
    ) -> CaseResult | None:
        """Give a case to a worker; return its result only if it cannot be given."""
        if not told:
            observer.case_started(case)
        try:
            content = pickle.dumps(case)
        except Exception as error:
            return no_worker_takes(case, error)
        idle = [each for each in self._workers if not each.running and each.alive]
        if told:  # what is run again gets a worker that nobody had before
            idle = [each for each in idle if not each.served]
        worker = idle[0] if idle else self._start()
        self._tasks += 1
        limit_s = self._timeout_s if case.timeout is None else case.timeout
        worker.running = Running(self._tasks, index, case, limit_s)
        if len(self._busy) > 1:
            for each in self._busy:
                assert each.running
                each.running.contended = True
        worker.forget()
        worker.tell(Task(self._tasks, content))
        return None

    def _next(self) -> tuple[Worker, Any] | None:
        """Return the next message of any worker, if there is one soon."""
        with suppress(Empty):
            return self._heard.get(timeout=EVERY_S)
        return None

    def _results(self, observer: Observer) -> Iterator[tuple[Worker, CaseResult | None]]:
        """Listen for a while; yield what is over then, ``None`` of a worker that is lost."""
        heard = self._next()
        if heard:
            yield from self._take(*heard, observer)
        # Time in which nobody looked, as where the run was stopped for a while, is nobody's.
        gap = monotonic() - self._looked - 2 * EVERY_S
        for worker in self._busy:
            assert worker.running
            worker.running.deadline += max(0.0, gap)
        for worker in self._busy:
            # To say that a worker is late takes a while, and others may be done meanwhile.
            yield from self._take_all(observer)
            if worker.running:
                yield from self._overdue(worker)
        self._looked = monotonic()

    def _take_all(self, observer: Observer) -> Iterator[tuple[Worker, CaseResult | None]]:
        """Take in all that has been said so far."""
        with suppress(Empty):
            while True:
                yield from self._take(*self._heard.get_nowait(), observer)

    def _take(
        self, worker: Worker, message: Any, observer: Observer
    ) -> Iterator[tuple[Worker, CaseResult | None]]:
        """Take in a message, and yield the result that it brings."""
        running = worker.running
        if message is None:
            if running:
                yield worker, None
            elif worker in self._workers:
                self._end(worker)
        elif running is None or getattr(message, "number", 0) != running.number:
            return
        elif isinstance(message, Begun):
            running.begin()
        elif isinstance(message, Stage):
            observer.stage_advanced(running.case, message.name, message.done, message.total)
        elif isinstance(message, Unreadable):
            yield worker, no_worker_takes(running.case, message.reason)
        elif isinstance(message, Done):
            yield worker, CaseResult.model_validate_json(message.result)

    def _overdue(self, worker: Worker) -> Iterator[tuple[Worker, CaseResult | None]]:
        """Yield a worker whose time is up, or that died while another keeps its pipe open."""
        running, now = worker.running, monotonic()
        assert running
        if not worker.alive:
            # What it said last may still be on its way, but not for long.
            running.died = min(running.died, now)
            if now > running.died + LAST_WORDS_S:
                yield worker, None
        elif now > running.deadline:
            worker.ask_where()
            reason = f"It took more than the {running.limit_s:g} s that it may take (timeout)."
            if not running.has_begun:
                reason = f"Its worker did not begin within {PATIENCE_S:g} s."
            result = self._lost(worker, running, "timeout", reason)
            worker.kill()
            yield worker, result

    def _lost(
        self, worker: Worker, running: Running, status: CaseStatus = "errored", reason: str = ""
    ) -> CaseResult:
        """Make the result of a case whose worker is lost."""
        ended = "" if reason else worker.ended()
        return without_verdict(
            running.case,
            status,
            reason or f"{ended[0].upper()}{ended[1:]}.",
            traceback=worker.last_words(),
            duration_s=monotonic() - running.began,
        )

    def _start(self) -> Worker:
        if self._closed:
            raise UsageError("the run has ended, and starts no more workers")
        worker = self._waiting.pop() if self._waiting else self._launched()
        self._workers.append(worker)
        worker.tell(Prepare(self._places, self._asked))
        return worker

    def _launched(self) -> Worker:
        return Worker(launch(self.threads), self._heard)

    def _end(self, worker: Worker) -> None:
        worker.kill()
        self._workers.remove(worker)

    def close(self) -> None:
        """End all workers; none is started any more."""
        self._closed = True
        for worker in (*self._workers, *self._waiting):
            worker.kill()
        self._workers.clear()
        self._waiting.clear()


def no_worker_takes(case: PlannedCase, error: object) -> CaseResult:
    """Return the result of a case that cannot be handed to another process, and why."""
    reason = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else error
    hint = "a kind has to be importable in other processes, or to run with --in-process"
    return without_verdict(case, "errored", f"No worker can take the case: {reason}; {hint}.")
