"""What a witness keeps: the questions that a case asked, and whether an answer was another."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from pcbench.audit.wrappers import Host


@dataclass(frozen=True, slots=True)
class Occasion:
    """One sort of question.

    Attributes
    ----------
    method
        Of the contract.
    uses
        What the answer takes: capabilities, and :class:`~pcbench.audit.traits.Trait` s.
    """

    method: str
    uses: frozenset[str]


class OutOfTime(BaseException):
    """A case takes too long under a fault."""


@dataclass(slots=True)
class Testimony:
    """What was seen.

    Attributes
    ----------
    deadline
        When no further question is taken, in seconds of :func:`time.monotonic`.
    occasions
        The sorts of questions asked.
    differs
        Whether some answer was not that of the correct backend.
    """

    deadline: float = math.inf
    occasions: set[Occasion] = field(default_factory=set)
    differs: bool = False
    _first_batch: int | None = None

    def note(self, method: str, uses: frozenset[str]) -> None:
        """Keep what is asked.

        Raises
        ------
        OutOfTime
            After the deadline.
        """
        self.occasions.add(Occasion(method, uses))
        if time.monotonic() > self.deadline:
            raise OutOfTime

    def of_another_size(self, samples: int) -> bool:
        """Whether a batch is not of the size of the first one."""
        self._first_batch = self._first_batch or samples
        return samples != self._first_batch

    @contextmanager
    def failing(self) -> Iterator[None]:
        """An exception where the correct backend raised none is a difference."""
        try:
            yield
        except Exception:
            self.differs = True
            raise


def same(one: Any, other: Any, to_host: Callable[[Any], Host]) -> bool:
    """Whether two answers are the same, number for number.

    Zero is zero, of either sign, and what is no number is the same as itself.

    Parameters
    ----------
    one, other
        Arrays of a backend or of NumPy, numbers, and sequences and dataclasses of such.
    to_host
        Brings the backend's arrays to the host.
    """
    one, other = _plain(one), _plain(other)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and np.array_equal(one, other, equal_nan=True)
    if is_dataclass(one) and type(one) is type(other):
        names = [each.name for each in fields(one)]
        return all(same(getattr(one, name), getattr(other, name), to_host) for name in names)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(
            same(a, b, to_host) for a, b in zip(one, other, strict=True)
        )
    if one is None or other is None or isinstance(one, bool | int | float | str):
        return type(one) is type(other) and (one == other or (one != one and other != other))
    return same(np.array(to_host(one)), np.array(to_host(other)), to_host)


def _plain(value: Any) -> Any:
    """Return Python's own number for one of NumPy's."""
    return value.item() if isinstance(value, np.generic) else value
