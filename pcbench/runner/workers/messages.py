"""What a run and its workers say to each other: pickles, each after its length.

A message is read whole before it is unpickled, so that one that cannot be is an error of its own
and not the end of all that is said.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

from pcbench.data import Places
from pcbench.runner.environment import Asked

_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make backends, and say what they say of themselves. The first message to any worker."""

    places: Places
    asked: Sequence[Asked]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What each backend says of itself."""

    descriptions: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Refused:
    """Backends cannot be had, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Task:
    """Run a case."""

    number: int  # by which all that is said of it is told from what is said of others
    case: bytes  # a pickle of its own: it is foreign code that it imports


@dataclass(frozen=True, slots=True)
class Begun:
    """The task begins; what it computes with has been imported."""

    number: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A long stage of the task has done so many of its steps."""

    number: int
    name: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Done:
    """The task is over; its result as JSON."""

    number: int
    result: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The task's case cannot be imported, and why."""

    number: int
    reason: str


def send(message: object, pipe: IO[bytes]) -> None:
    """Send a message."""
    content = pickle.dumps(message)
    pipe.write(_LENGTH.pack(len(content)) + content)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """Wait for a message, and return it pickled; ``None`` where nothing more is said."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    [length] = _LENGTH.unpack(head)
    content = pipe.read(length)
    return content if len(content) == length else None
