"""Mistakes in what a trainer records."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from jaxtyping import Int

from pcbench.audit.trainer import FaultyTrainer, Rows, Slope
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import Capability, Record

Details = tuple[list[list[float]], list[list[float]], float, list[float]]


class LossAfter(FaultyTrainer):
    """The loss that is recorded is that after the update."""

    def values(self, slopes: list[Slope], rows: Rows | None) -> tuple[list[float], list[float]]:
        """Compute it anew."""
        after = [self.slope(place, rows).loss for place in range(len(slopes))]
        return after, [slope.energy for slope in slopes]


class EnergyAfter(FaultyTrainer):
    """The energy that is recorded is that after the update."""

    def values(self, slopes: list[Slope], rows: Rows | None) -> tuple[list[float], list[float]]:
        """Compute it anew."""
        after = [self.slope(place, rows).energy for place in range(len(slopes))]
        return [slope.loss for slope in slopes], after


class ScaledNorms(FaultyTrainer):
    """The gradient norms that are recorded are those after scaling."""

    needs: ClassVar[frozenset[str]] = frozenset({Trait.SCALED})

    def details(self, slopes: list[Slope], before: list[Host]) -> Details:
        """Scale them."""
        norms, sizes, inferred, residuals = super().details(slopes, before)
        scaled = [[self.settings.scale * n for n in row] for row in norms]
        return scaled, sizes, inferred, residuals


class NormsOfNeighbours(FaultyTrainer):
    """Replicas are recorded with each other's gradient norms."""

    needs: ClassVar[frozenset[str]] = frozenset({Capability.REPLICAS})

    def details(self, slopes: list[Slope], before: list[Host]) -> Details:
        """Turn their order round."""
        norms, sizes, inferred, residuals = super().details(slopes, before)
        return norms[::-1], sizes, inferred, residuals


class NormsAfter(FaultyTrainer):
    """The parameter norms that are recorded are those after the update."""

    def details(self, slopes: list[Slope], before: list[Host]) -> Details:
        """Take them now."""
        return super().details(slopes, self.theta)


class RecordsEveryStep(FaultyTrainer):
    """Norms are recorded at every step, whatever was asked for."""

    def run(
        self, steps: int, batches: Int[np.ndarray, "T *#R N"] | None = None, every: int = 1
    ) -> Record:
        """Record all."""
        return super().run(steps, batches, 1)


class RecordsTheFirst(FaultyTrainer):
    """A run records the loss of its first step, over and over."""

    def run(
        self, steps: int, batches: Int[np.ndarray, "T *#R N"] | None = None, every: int = 1
    ) -> Record:
        """Repeat it."""
        record = super().run(steps, batches, every)
        return replace(record, losses=np.repeat(record.losses[:1], steps, axis=0))


class ResidualHalved(FaultyTrainer):
    """The residual of inference that is recorded is half of what was left."""

    needs: ClassVar[frozenset[str]] = frozenset({Trait.ITERATIVE})

    def details(self, slopes: list[Slope], before: list[Host]) -> Details:
        """Halve it."""
        norms, sizes, inferred, residuals = super().details(slopes, before)
        return norms, sizes, inferred, [0.5 * residual for residual in residuals]


class InferenceNotCounted(FaultyTrainer):
    """Steps of inference are not counted."""

    needs: ClassVar[frozenset[str]] = frozenset({Trait.ITERATIVE})

    def details(self, slopes: list[Slope], before: list[Host]) -> Details:
        """Say none."""
        norms, sizes, _, residuals = super().details(slopes, before)
        return norms, sizes, 0.0, residuals


class ForgetsAReplica(FaultyTrainer):
    """One replica is missing in what is recorded."""

    needs: ClassVar[frozenset[str]] = frozenset({Capability.REPLICAS})

    def values(self, slopes: list[Slope], rows: Rows | None) -> tuple[list[float], list[float]]:
        """Leave the first one out, where there are others."""
        return super().values(slopes[1:] or slopes, rows)

    def details(self, slopes: list[Slope], before: list[Host]) -> Details:
        """Leave the first one out, where there are others."""
        return super().details(slopes[1:] or slopes, before)


FAULTS = (
    LossAfter,
    EnergyAfter,
    ScaledNorms,
    NormsOfNeighbours,
    NormsAfter,
    RecordsEveryStep,
    RecordsTheFirst,
    ResidualHalved,
    InferenceNotCounted,
    ForgetsAReplica,
)
