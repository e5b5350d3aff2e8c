"""What a case has while it runs: randomness, timing, and who is told of its progress."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from math import sqrt
from statistics import quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pcbench import data
from pcbench.case import Context, Measurement
from pcbench.contract.backend import Backend
from pcbench.suite import PlannedCase

if TYPE_CHECKING:
    from pcbench.report import CaseResult
    from pcbench.suite import PlannedCase


class Observer:
    """Told what a run is doing. This one does nothing; subclass it to show something."""

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        """Of so many cases, an expression (``-k``) selects these."""

    def run_started(self, cases: int) -> None:
        """``cases`` cases are about to run."""

    def case_started(self, case: PlannedCase) -> None:
        """A case begins."""

    def stage_advanced(self, stage: str, done: int, total: int) -> None:
        """A long stage of the current case has done so many of its steps."""

    def case_finished(self, result: CaseResult) -> None:
        """A case is over, whatever became of it."""


def stream(seed: int, case_id: str, name: str) -> np.random.Generator:
    """Return the generator that belongs to one purpose of one case.

    It depends on the three arguments alone, through SHA-256: not on the order of cases, on which of
    them run, or on what other streams have drawn.

    Parameters
    ----------
    seed
        The suite's or the case's, not negative.
    case_id
        The concrete case's identifier.
    name
        What the randomness is for, such as ``weights``.
    """
    digest = hashlib.sha256(f"{case_id}\0{name}".encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


BUDGET_S = 0.1
"""Seconds of samples after which no further one is started."""
MIN_SAMPLES = 5
PATIENCE_S = 1.0
"""Seconds of samples after which two are enough: what takes so long is not timed by its noise."""
MAX_SAMPLES = 100
TIGHT = 0.02
"""Stop once half the interquartile range, over √samples, is this fraction of the median."""


def measure(name: str, work: Callable[[], object], backend: Backend[Any]) -> Measurement:
    """Time ``work`` on a backend, keeping every sample."""
    work()  # the first call pays for allocations and compilation
    backend.synchronize()
    backend.peak_memory()  # start the peak anew
    samples: list[float] = []
    while not _enough(samples):
        start = perf_counter()
        work()
        backend.synchronize()
        samples.append(perf_counter() - start)
    return Measurement(name, samples, backend.peak_memory())


def _enough(samples: list[float]) -> bool:
    if len(samples) < MIN_SAMPLES:
        return len(samples) >= 2 and sum(samples) >= PATIENCE_S
    if len(samples) >= MAX_SAMPLES or sum(samples) >= BUDGET_S:
        return True
    low, middle, high = quantiles(samples, n=4)
    return (high - low) / 2 <= TIGHT * middle * sqrt(len(samples))


T = TypeVar("T")


class RunContext(Context):
    """The context of one case in one run."""

    def __init__(
        self,
        case: PlannedCase,
        backend: Backend[Any],
        places: data.Places,
        observer: Observer,
        *,
        timed: bool = True,
    ) -> None:
        self.backend, self._timed = backend, timed
        self._case, self._places, self._observer = case, places, observer

    def rng(self, name: str) -> np.random.Generator:
        """Return the random stream of that name."""
        return stream(self._case.seed, self._case.randomness or self._case.id, name)

    def load(self, parameters: data.DatasetParameters, stream: str = "data") -> data.Samples:
        """Load samples, chosen by the stream of that name."""
        return data.load(parameters, self.rng(stream), self._places)

    def measure(self, name: str, work: Callable[[], object]) -> Measurement:
        """Time ``work`` on the case's backend; do it once where no time is asked for."""
        if not self._timed:
            work()
            return Measurement(name, [0.0])
        return measure(name, work, self.backend)

    def progress(self, stage: str, steps: Iterable[T], total: int) -> Iterator[T]:
        """Iterate over the steps of a long stage, telling the observer."""
        for done, step in enumerate(steps):
            self._observer.stage_advanced(stage, done, total)
            yield step
        self._observer.stage_advanced(stage, total, total)
