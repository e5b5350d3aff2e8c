"""What a worker process does: it runs one case after another, for the process that started it.

Messages go through pipes of its own; what cases print goes to standard error, where the process
that started it keeps the last of it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import BinaryIO

from pcbench.data import Places
from pcbench.errors import UsageError
from pcbench.registry import BACKENDS
from pcbench.runner.case import errored, run_case
from pcbench.runner.context import Observer
from pcbench.runner.environment import Backends
from pcbench.runner.executor import one_thread_for_the_judge
from pcbench.runner.workers.messages import (
    Begun,
    Done,
    Prepare,
    Prepared,
    Refused,
    Stage,
    Task,
    Unreadable,
    receive,
    send,
)
from pcbench.suite import PlannedCase

EVERY_S = 0.1
"""Stages of a case are told no more often than that, but for their begin and their end."""
_PR_SET_PDEATHSIG = 1

Tell = Callable[[object], None]


def main() -> None:
    """Serve until the process that asks is gone."""
    # Whatever a case prints or reads must not meet the messages.
    commands, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    faulthandler.enable()
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1)  # where it is, when time is up
    _end_with_parent()
    asked: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(commands, asked), daemon=True).start()
    for name in sys.argv[1:]:
        with suppress(Exception, SystemExit):  # it is told where a case asks for it
            BACKENDS.load(name)
    gc.freeze()
    gc.enable()
    telling, own = threading.Lock(), os.getpid()

    def tell(message: object) -> None:
        if os.getpid() == own:  # and not a process that a case has forked
            with telling:
                send(message, answers)

    with one_thread_for_the_judge():
        serve(asked.get, tell)


def serve(ask: Callable[[], bytes], tell: Tell) -> None:
    """Do what each message asks for. The first one is a ``Prepare``."""
    first = pickle.loads(ask())
    assert isinstance(first, Prepare)
    backends, places = Backends(), first.places
    try:
        backends.demand(first.asked)
    except UsageError as error:
        tell(Refused(str(error)))
    else:
        tell(Prepared(backends.descriptions()))
    while True:
        task = pickle.loads(ask())
        assert isinstance(task, Task)
        try:
            case = pickle.loads(task.case)
            assert isinstance(case, PlannedCase)
        except Exception as error:
            tell(Unreadable(task.number, f"{type(error).__name__}: {error}"))
            continue
        with suppress(Exception, SystemExit):  # it is raised, and told, where the case asks for it
            backends.of(case)
        tell(Begun(task.number))
        observer = _Telling(tell, task.number)
        tell(Done(task.number, _result(case, backends, places, observer)))


def _result(case: PlannedCase, backends: Backends, places: Places, observer: Observer) -> str:
    """Run a case, and return its result as JSON, also of what cannot be written as such."""
    try:
        with limited_memory(case.memory_limit):
            result = run_case(case, partial(backends.of, case), places, observer)
        return result.model_dump_json()
    except Exception as error:
        return errored(case, error).model_dump_json()


@contextmanager
def limited_memory(more: int | None) -> Iterator[None]:
    """Let the process take so many bytes more than it has; beyond them allocations fail.

    Only Linux counts them (``RLIMIT_DATA``: all that is private and can be written); elsewhere
    nothing is limited.
    """
    if more is None or sys.platform != "linux":
        yield
        return
    import resource

    status = Path("/proc/self/status").read_text(encoding="ascii")
    [now] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData")]
    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    bounds = [1024 * now + more, *({before, most} - {resource.RLIM_INFINITY})]
    resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))


class _Telling(Observer):
    """Tells the process that started this one how far a task is."""

    def __init__(self, tell: Tell, number: int) -> None:
        self._tell, self._number, self._last = tell, number, 0.0

    def stage_advanced(self, case: PlannedCase, stage: str, done: int, total: int) -> None:
        now = monotonic()
        if done in (0, total) or now - self._last >= EVERY_S:
            self._tell(Stage(self._number, stage, done, total))
            self._last = now


def _listen(commands: BinaryIO, asked: SimpleQueue[bytes]) -> None:
    """Pass on what is asked for; without anybody to ask, end at once, whatever is going on."""
    with suppress(OSError):
        while (message := receive(commands)) is not None:
            asked.put(message)
    os._exit(0)


def _end_with_parent() -> None:
    """Have Linux kill this process when its parent dies: a thread may never get to see it."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
