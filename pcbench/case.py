"""What a case is: a question put to a backend, with the theory's answer beside it.

A case never prints, never reads the clock and never opens a file: the runner gives it a
:class:`Context` for that. It yields what it finds as it finds it, so that what was found is kept
when a later part of the case fails.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from pcbench.checks import Check
from pcbench.claims import Claim
from pcbench.contract.backend import Backend
from pcbench.data.base import DatasetParameters, Samples


class CaseParameters(BaseModel):
    """Base of every kind's parameter model: what a suite may write under a case of that kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Measurement:
    """Raw timings of one thing, in seconds, in the order they were taken.

    ``details`` are what else it took or reached, by name: steps, say. Tables show them beside it.
    """

    name: str
    samples_s: list[float]
    peak_memory_bytes: int | None = None
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Columns:
    """A series for plots: columns of equal length by name."""

    name: str
    columns: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Omission:
    """A part of the question that this backend cannot be asked, and why; the rest is asked."""

    part: str
    reason: str


Finding = Check | Claim | Measurement | Columns | Omission


class CaseSkippedError(Exception):
    """The question cannot be asked here; the message gives the reason and the remedy."""


T = TypeVar("T")


class Context(ABC):
    """What the runner lends a case while it runs."""

    backend: Backend[Any]

    @abstractmethod
    def rng(self, stream: str) -> np.random.Generator:
        """Return the random stream of that name, the same for every backend and every run.

        It derives from the suite's seed, the case's identifier and the name alone, so adding or
        removing a case, or drawing from another stream, changes nothing here.
        """

    @abstractmethod
    def load(self, data: DatasetParameters, stream: str = "data") -> Samples:
        """Load samples, chosen by the stream of that name."""

    @abstractmethod
    def measure(self, name: str, work: Callable[[], object]) -> Measurement:
        """Time ``work``: warmed up, synchronised, repeated until the median is tight."""

    @abstractmethod
    def progress(self, stage: str, steps: Iterable[T], total: int) -> Iterator[T]:
        """Iterate over the steps of a long stage, showing how far it is."""


P = TypeVar("P", bound=CaseParameters)


class Case(ABC, Generic[P]):
    """A question of one kind, with its parameters.

    Subclass it, give it a ``kind``, a one-line ``description`` and a ``Parameters`` model,
    implement :meth:`run`, and name the class in the entry-point group ``pcbench.cases``.
    """

    kind: ClassVar[str]
    description: ClassVar[str]
    Parameters: ClassVar[type[CaseParameters]]

    def __init__(self, parameters: P) -> None:
        self.parameters = parameters

    def needs(self) -> frozenset[str]:
        """Return the optional capabilities without which the case is skipped, with the reason."""
        return frozenset()

    @abstractmethod
    def run(self, context: Context) -> Iterator[Finding]:
        """Ask the backend, ask the theory, and yield checks, claims, measurements and series.

        Raises
        ------
        CaseSkippedError, DatasetMissingError
            If the question cannot be asked here: the case is skipped, with the reason.
        """
