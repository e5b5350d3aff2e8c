"""The context that a case gets while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from pcbench import data
from pcbench.case import Context, Measurement
from pcbench.contract.backend import Backend
from pcbench.runner.observer import Observer
from pcbench.runner.seeds import stream
from pcbench.runner.timing import measure
from pcbench.suite import PlannedCase

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
