"""The place to write a case from: a question to a backend, with the answer that theory gives.

``from pcbench.case import Case, CaseParameters, Context, DataField, NetworkParameters, checks`` is
all that a case kind needs; ``CONTRIBUTING.md`` has an example of forty lines.

A case never prints, reads the clock or opens a file: its :class:`Context` does that. It yields each
finding as soon as it has it, so that nothing is lost when a later part of the case fails.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, SupportsFloat, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from pcbench import checks
from pcbench.checks import Check
from pcbench.claims import Claim
from pcbench.contract.backend import Backend
from pcbench.data.base import DataField, DatasetParameters, Samples
from pcbench.networks.parameters import NetworkParameters

__all__ = ["Case", "CaseParameters", "Context", "DataField", "NetworkParameters", "checks"]


class CaseParameters(BaseModel):
    """Base of what a suite may write under a case of a kind, or under one key of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="after")
    def _is_consistent(self) -> CaseParameters:
        if contradiction := next(iter(self.contradictions()), ""):
            raise ValueError(contradiction)
        return self

    def contradictions(self) -> Iterable[str]:
        """Say how settings that are valid one by one do not fit together, and the remedy."""
        return ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """Raw timings of one thing, in seconds, in the order in which they were taken.

    ``details`` are other numbers to show beside the time in tables, by name: the steps, say.
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

    @classmethod
    def of_rows(
        cls, name: str, columns: Iterable[str], rows: Sequence[Sequence[SupportsFloat]]
    ) -> Columns:
        """Return a series of rows, with these names of columns."""
        return cls(name, {key: [float(row[i]) for row in rows] for i, key in enumerate(columns)})


@dataclass(frozen=True, slots=True)
class Omission:
    """A part of the case that was left out for this backend, and why; the rest has run."""

    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """Arrays by name that the runner stores as the ``.npz`` file of that path."""

    path: str
    arrays: dict[str, np.ndarray]


Finding = Check | Claim | Measurement | Columns | Omission | Artifact


class CaseSkippedError(Exception):
    """The case cannot run here; the message gives the reason and the remedy."""


T = TypeVar("T")


class Context(ABC):
    """What a case has at hand while it runs: the backend, randomness, data, timing, progress."""

    backend: Backend[Any]

    @abstractmethod
    def rng(self, stream: str) -> np.random.Generator:
        """Return the random stream of that name, the same for every backend and every run.

        It depends only on the suite's seed, the case's identifier and the name: adding or removing
        a case, or drawing from another stream, changes nothing here.
        """

    @abstractmethod
    def load(self, data: DatasetParameters, stream: str = "data") -> Samples:
        """Load samples; the stream of that name decides which."""

    def saw(self, name: str, *arrays: np.ndarray) -> None:
        """Take note of arrays that the case is given, such as weights; the report has a digest."""
        return

    @abstractmethod
    def measure(self, name: str, work: Callable[[], object]) -> Measurement:
        """Time ``work``: warm up, synchronise, repeat until the median is known closely."""

    @abstractmethod
    def progress(self, stage: str, steps: Iterable[T], total: int) -> Iterator[T]:
        """Iterate over the steps of a long stage, and show the progress."""


P = TypeVar("P", bound=CaseParameters)


class Case(ABC, Generic[P]):
    """A question of one kind, with its parameters.

    Subclass it, give it a ``kind``, a one-line ``description`` and a ``Parameters`` model,
    implement :meth:`run`, and name the class in the entry-point group ``pcbench.cases``.
    """

    kind: ClassVar[str]
    description: ClassVar[str]
    Parameters: ClassVar[type[CaseParameters]]
    # Whether nothing else is to run meanwhile, for it compares times that it takes itself.
    alone: ClassVar[bool] = False

    def __init__(self, parameters: P) -> None:
        self.parameters = parameters

    def needs(self) -> frozenset[str]:
        """Return the optional capabilities without which the case is skipped, with the reason."""
        return frozenset()

    @abstractmethod
    def run(self, context: Context) -> Iterator[Finding]:
        """Compare the backend with the theory; yield checks, claims, measurements and series.

        Raises
        ------
        CaseSkippedError, DatasetMissingError
            If the case cannot run here: it is skipped, with the reason.
        """
