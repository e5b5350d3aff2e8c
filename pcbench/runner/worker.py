"""What a worker process does: it runs one case after another, for the process that started it.

Messages go through pipes of its own; what cases print goes to standard error, where the process
that started it keeps the last of it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Any, BinaryIO

from pcbench.data import Places
from pcbench.errors import UsageError
from pcbench.runner.case import errored, run_case
from pcbench.runner.context import Observer
from pcbench.runner.environment import Backends
from pcbench.runner.executor import one_thread_for_the_judge
from pcbench.suite import PlannedCase

EVERY_S = 0.1
"""Stages of a case are told no more often than that, but for their begin and their end."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the backends of these cases, and say what they say of themselves."""

    plan: list[PlannedCase]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What each backend says of itself."""

    descriptions: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Refused:
    """Backends cannot be had."""

    error: UsageError


@dataclass(frozen=True, slots=True)
class Begun:
    """A case begins; what it computes with has been imported."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A long stage of the case has done so many of its steps."""

    name: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Done:
    """A case is over; its result as JSON."""

    result: str


Tell = Callable[[object], None]


def main() -> None:
    """Serve until there is nothing more to read."""
    # Whatever a case prints or reads must not meet the messages.
    commands, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    faulthandler.enable()
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1)  # where it is, when time is up
    _end_with_parent()
    asked: SimpleQueue[object] = SimpleQueue()
    threading.Thread(target=_listen, args=(commands, asked), daemon=True).start()

    def tell(message: object) -> None:
        pickle.dump(message, answers)
        answers.flush()

    with one_thread_for_the_judge():
        serve(asked.get, tell)


def serve(ask: Callable[[], object], tell: Tell) -> None:
    """Do what each message asks for; ``None`` ends it. The first one says where data are."""
    places, backends = ask(), Backends()
    assert isinstance(places, Places)
    while (message := ask()) is not None:
        if isinstance(message, Prepare):
            try:
                backends.demand(message.plan)
            except UsageError as error:
                tell(Refused(UsageError(str(error))))
            else:
                tell(Prepared(backends.descriptions()))
        elif isinstance(message, PlannedCase):
            with suppress(Exception):  # it is raised again, and told, where the case asks for it
                backends.of(message)
            tell(Begun())
            tell(Done(_result(message, backends, places, tell)))


def _result(case: PlannedCase, backends: Backends, places: Places, tell: Tell) -> str:
    """Run a case, and return its result as JSON, also of what cannot be written as such."""
    try:
        with limited_memory(case.memory_limit):
            result = run_case(case, partial(backends.of, case), places, _Telling(tell))
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
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * now + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


class _Telling(Observer):
    """Tells the process that started this one how far a case is."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._last = tell, 0.0

    def stage_advanced(self, case: PlannedCase, stage: str, done: int, total: int) -> None:
        now = monotonic()
        if done in (0, total) or now - self._last >= EVERY_S:
            self._tell(Stage(stage, done, total))
            self._last = now


def _listen(commands: BinaryIO, asked: SimpleQueue[object]) -> None:
    """Pass on what is asked for; without anybody to ask, end at once, whatever is going on."""
    with suppress(EOFError, pickle.UnpicklingError, OSError):
        while True:
            asked.put(pickle.load(commands))
    os._exit(0)


def _end_with_parent() -> None:
    """Have Linux kill this process when its parent dies: a thread may never get to see it."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
