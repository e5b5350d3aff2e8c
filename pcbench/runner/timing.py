"""Timing: warmed up, synchronised, repeated until the median is tight or the budget is spent."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from statistics import quantiles
from time import perf_counter
from typing import Any

from pcbench.case import Measurement
from pcbench.contract.backend import Backend

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
