"""What a case has while it runs (randomness, timing, progress), and what it yields, collected."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite, sqrt
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pcbench import data
from pcbench.case import Artifact, Columns, Context, Finding, Measurement, Omission
from pcbench.checks import Check
from pcbench.claims import Claim
from pcbench.contract.backend import Backend
from pcbench.report import Timing
from pcbench.suite import PlannedCase

if TYPE_CHECKING:
    from pcbench.report import CaseResult
    from pcbench.suite import PlannedCase


Series = dict[str, list[float | None]]


@dataclass
class Findings:
    """What a case has yielded so far, by type.

    A case may be anybody's code. What a report cannot store is refused here, where it makes only
    that case fail, and not when the report of the whole run is written.
    """

    checks: list[Check] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    series: dict[str, Series] = field(default_factory=dict)
    omitted: dict[str, str] = field(default_factory=dict)

    def take(self, findings: Iterator[Finding], *, until_failure: bool = False) -> None:
        """Take in everything that a case yields, as it yields it, maybe only until a failure."""
        if not isinstance(findings, Iterable):
            raise TypeError(f"run() returned {findings!r}; it has to yield what it finds")
        for finding in findings:
            # Validated anew, for `model_copy`, by which a check is located, validates nothing.
            if isinstance(finding, Check):
                self.checks.append(Check.model_validate(storable(finding.model_dump())))
                if until_failure and self.checks[-1].status == "failed":
                    return
            elif isinstance(finding, Claim):
                self.claims.append(Claim.model_validate(storable(finding.model_dump())))
            elif isinstance(finding, Measurement):
                details = {storable(name): _finite(x) for name, x in finding.details.items()}
                samples, memory = finding.samples_s, finding.peak_memory_bytes
                self.timings.append(Timing.of(storable(finding.name), samples, memory, details))
            elif isinstance(finding, Columns):
                self.series[storable(finding.name)] = _series(finding)
            elif isinstance(finding, Omission):
                self.omitted[storable(finding.part)] = storable(finding.reason)
            elif isinstance(finding, Artifact):
                try:
                    _store(finding)
                except OSError as error:
                    self.omitted[storable(finding.path)] = storable(f"cannot be written: {error}")
            else:
                raise TypeError(
                    "a case yields checks, claims, measurements, columns, omissions and artifacts, "
                    f"not a value of type {type(finding).__name__}"
                )


def _store(artifact: Artifact) -> None:
    path = Path(artifact.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **artifact.arrays)


def storable(value: Any) -> Any:
    """Escape lone surrogates in plain data: foreign text may have them, but UTF-8 has not."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {storable(key): storable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [storable(entry) for entry in value]
    return value


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _series(found: Columns) -> Series:
    if len({len(column) for column in found.columns.values()}) > 1:
        raise ValueError(f"the columns of {found.name!r} differ in length")
    return {
        storable(name): [_finite(value) for value in column]
        for name, column in found.columns.items()
    }


class Observer:
    """Told what a run is doing. This one does nothing; subclass it to show something."""

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        """Of so many cases, an expression (``-k``) selects these."""

    def run_started(self, cases: int) -> None:
        """``cases`` cases are about to run."""

    def case_started(self, case: PlannedCase) -> None:
        """A case begins."""

    def stage_advanced(self, case: PlannedCase, stage: str, done: int, total: int) -> None:
        """A long stage of a case that runs has done so many of its steps."""

    def case_finished(self, result: CaseResult) -> None:
        """A case is over, whatever became of it, now or in the run that is resumed."""

    def warned(self, sentence: str) -> None:
        """Something of the run itself went wrong, which costs no result."""


def stream(seed: int, case_id: str, name: str) -> np.random.Generator:
    """Return the generator that belongs to one purpose of one case.

    It depends on the three arguments alone, through SHA-256: not on the order of cases, on which of
    them run, or on what other streams have drawn. ``name`` is what it is for, such as ``weights``.
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
        self.digests: dict[str, str] = {}
        self.passed_over: list[str] = []

    def rng(self, name: str) -> np.random.Generator:
        """Return the random stream of that name."""
        return stream(self._case.seed, self._case.randomness or self._case.id, name)

    def load(self, parameters: data.DatasetParameters, stream: str = "data") -> data.Samples:
        """Load samples, chosen by the stream of that name."""
        samples = data.load(parameters, self.rng(stream), self._places)
        self.digests[stream] = samples.digest()
        self.passed_over += (each for each in samples.passed_over if each not in self.passed_over)
        return samples

    def saw(self, name: str, *arrays: np.ndarray) -> None:
        """Keep a digest of arrays that the case is given."""
        self.digests[name] = data.digest(arrays)

    def measure(self, name: str, work: Callable[[], object]) -> Measurement:
        """Time ``work`` on the case's backend; do it once where no time is asked for."""
        if not self._timed:
            work()
            return Measurement(name, [0.0])
        return measure(name, work, self.backend)

    def progress(self, stage: str, steps: Iterable[T], total: int) -> Iterator[T]:
        """Iterate over the steps of a long stage, telling the observer."""
        for done, step in enumerate(steps):
            self._observer.stage_advanced(self._case, stage, done, total)
            yield step
        self._observer.stage_advanced(self._case, stage, total, total)
