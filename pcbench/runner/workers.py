"""Cases in worker processes, so that whatever one does to its process costs that case alone.

Executors of the standard library and loky share a queue among their workers, so that one that dies
fails all that waits. Here a worker has one case at a time and pipes of its own, which nobody else
waits for. That takes ``subprocess``, two threads a worker that read its pipes, and a queue of what
they hear.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from types import TracebackType
from typing import IO, Any

from pcbench.data import Places
from pcbench.errors import UsageError
from pcbench.report import CaseResult
from pcbench.runner.case import without_verdict
from pcbench.runner.context import Observer, storable
from pcbench.runner.environment import representatives
from pcbench.runner.executor import Executor
from pcbench.runner.threads import thread_variables
from pcbench.runner.worker import Begun, Done, Prepare, Prepared, Refused, Stage
from pcbench.suite import PlannedCase

PATIENCE_S = 120.0
"""How long a worker may take to start, and to import what a case computes with."""
_EVERY_S = 0.2
"""How often workers are looked after, where they say nothing."""
_KEPT = 64 * 1024
"""Bytes that are kept of what a worker writes."""
_LINES = 20
"""Lines of that which a report shows."""
_LAST_WORDS_S = 0.5
"""How long a worker whose time is up has to say where it is."""


Heard = SimpleQueue[tuple["Worker", Any]]


class Worker:
    """A worker process, what it is doing, and the last of what it wrote.

    Parameters
    ----------
    places
        Where data are.
    threads
        How many threads its linear algebra may have.
    heard
        Takes what it says, with the worker itself; ``None`` once it says no more.
    """

    def __init__(self, places: Places, threads: int, heard: Heard) -> None:
        self.task: Task | None = None
        self._written = b""
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from pcbench.runner.worker import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, **thread_variables(threads)},
            process_group=0,  # Ctrl-C is for the run, and its children end with it
        )
        self._keeper = threading.Thread(
            target=self._keep, args=(self._process.stderr,), daemon=True
        )
        self._keeper.start()
        hearing = (self._process.stdout, heard)
        threading.Thread(target=self._hear, args=hearing, daemon=True).start()
        self.tell(places)

    def tell(self, message: object) -> None:
        """Send a message; a worker that is no more is found out by its silence."""
        assert self._process.stdin
        with suppress(OSError):
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()

    def _hear(self, pipe: IO[bytes], heard: Heard) -> None:
        with pipe, suppress(Exception):  # it ends, maybe in the middle of a message
            while True:
                heard.put((self, pickle.load(pipe)))
        heard.put((self, None))

    def _keep(self, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := os.read(pipe.fileno(), _KEPT):
                self._written = (self._written + chunk)[-_KEPT:]

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """Return the last lines that it has written."""
        text = self._written.decode("utf-8", "replace")
        return str(storable("\n".join(text.splitlines()[-_LINES:])))

    def forget(self) -> None:
        """Forget what it has written so far."""
        self._written = b""

    def ended(self) -> str:
        """Say how the process has ended."""
        code = self._process.wait()
        self._keeper.join(_LAST_WORDS_S)
        if code >= 0:
            return f"its process exited with code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        memory = (
            ", which is also what the system sends where memory runs out: give the case fewer "
            "samples, replicas or units, or a memory_limit"
        )
        return f"its process was killed by {name}{memory if name == 'SIGKILL' else ''}"

    def ask_where(self) -> None:
        """Let it write where it is, if it can."""
        if hasattr(signal, "SIGUSR1") and self.alive:
            self.forget()
            with suppress(OSError, subprocess.TimeoutExpired):
                self._process.send_signal(signal.SIGUSR1)
                self._process.wait(_LAST_WORDS_S)

    def kill(self) -> None:
        """End the process, and what it has started."""
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        assert self._process.stdin
        with suppress(OSError):
            self._process.stdin.close()


@dataclass
class Task:
    """A case that a worker has."""

    index: int
    case: PlannedCase
    limit_s: float
    began: float = field(default_factory=monotonic)
    contended: bool = False
    deadline: float = inf

    def __post_init__(self) -> None:
        self.deadline = monotonic() + PATIENCE_S + self.limit_s

    def begin(self) -> None:
        """Count its time from now."""
        self.deadline = monotonic() + self.limit_s


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
    """

    def __init__(self, jobs: int = 1, threads: int = 1, timeout_s: float | None = None) -> None:
        self.jobs, self._threads = jobs, threads
        self._timeout_s = inf if timeout_s is None else timeout_s
        self._workers: list[Worker] = []
        self._heard: Heard = SimpleQueue()

    def prepare(self, plan: Sequence[PlannedCase], places: Places) -> dict[str, dict[str, Any]]:
        """Make the backends of a plan, in the first worker."""
        self._places = places
        for _ in range(min(self.jobs, len(plan))):
            self._start()
        worker = self._workers[0]
        worker.tell(Prepare(representatives(plan)))
        for speaker, message in self._listen():
            if speaker is not worker:
                continue
            if isinstance(message, Prepared):
                return message.descriptions
            if isinstance(message, Refused):
                raise message.error
            if message is None:
                reason = f"no worker can be started: {worker.ended()}. {worker.last_words()}"
                raise UsageError(f"{reason}\nTry --in-process.")
        raise AssertionError("workers are listened to until they say something")

    def run(
        self, cases: Sequence[PlannedCase], observer: Observer
    ) -> Iterator[tuple[int, CaseResult]]:
        """Run cases, those that are to run alone after all others."""
        together = deque(i for i, case in enumerate(cases) if not case.case.alone)
        alone = deque(i for i, case in enumerate(cases) if case.case.alone)
        idle = list(self._workers)
        while together or alone or any(worker.task for worker in self._workers):
            busy = [worker for worker in self._workers if worker.task]
            waiting = together or (alone if not busy else deque())
            if waiting and len(busy) < self.jobs:
                worker = idle.pop() if idle else self._start()
                if not worker.alive:  # what an earlier case has left behind there ended it
                    self._end(worker)
                    continue
                self._begin(worker, waiting.popleft(), cases, observer)
                continue
            for worker, result in self._next(observer):
                assert worker.task
                index, worker.task = worker.task.index, None
                if worker.alive:
                    idle.append(worker)
                yield index, result

    def _begin(
        self, worker: Worker, index: int, cases: Sequence[PlannedCase], observer: Observer
    ) -> None:
        case = cases[index]
        limit_s = self._timeout_s if case.timeout is None else case.timeout
        worker.task = Task(index, case, limit_s)
        tasks = [each.task for each in self._workers if each.task]
        for task in tasks if len(tasks) > 1 else ():
            task.contended = True
        worker.forget()
        observer.case_started(case)
        worker.tell(case)

    def _next(self, observer: Observer) -> Iterator[tuple[Worker, CaseResult]]:
        """Hear the next message of any worker, and yield the results that there are then."""
        for worker, message in self._listen(until=monotonic() + _EVERY_S):
            task = worker.task
            if task is None or worker not in self._workers:
                continue
            if isinstance(message, Begun):
                task.begin()
            elif isinstance(message, Stage):
                observer.stage_advanced(task.case, message.name, message.done, message.total)
            elif isinstance(message, Done):
                found = CaseResult.model_validate_json(message.result)
                yield worker, found.model_copy(update={"contended": task.contended})
                return
            elif message is None:
                yield self._lost(worker, task, "errored", worker.ended())
                return
        for worker in [each for each in self._workers if each.task]:
            task = worker.task
            assert task
            if not worker.alive:
                yield self._lost(worker, task, "errored", worker.ended())
            elif monotonic() > task.deadline:
                worker.ask_where()
                reason = f"it took more than the {task.limit_s:g} s that it may take (timeout)"
                yield self._lost(worker, task, "timeout", reason)

    def _lost(
        self, worker: Worker, task: Task, status: Any, reason: str
    ) -> tuple[Worker, CaseResult]:
        """Make the result of a case whose worker is lost, and end what is left of that."""
        self._end(worker)
        result = without_verdict(
            task.case,
            status,
            f"{reason[0].upper()}{reason[1:]}.",
            traceback=worker.last_words(),
            duration_s=monotonic() - task.began,
        )
        return worker, result.model_copy(update={"contended": task.contended})

    def _listen(self, until: float = inf) -> Iterator[tuple[Worker, Any]]:
        """Yield what workers say, until a time."""
        while (left := until - monotonic()) > 0:
            with suppress(Empty):
                yield self._heard.get(timeout=min(left, _EVERY_S))

    def _start(self) -> Worker:
        worker = Worker(self._places, self._threads, self._heard)
        self._workers.append(worker)
        return worker

    def _end(self, worker: Worker) -> None:
        worker.kill()
        self._workers.remove(worker)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
