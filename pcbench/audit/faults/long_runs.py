"""Mistakes in training that show in no first step."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Int

from pcbench.audit.trainer import FaultyTrainer, Rows
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import Adam, Record
from pcbench.contract.parts import Part

_ADAM = frozenset({Trait.ADAM})


class BiasCorrectionFrozen(FaultyTrainer):
    """Adam's bias correction stays what it is after the tenth step."""

    part = Part.OPTIMISERS
    needs: ClassVar[frozenset[str]] = _ADAM

    def moved(self, rule: Adam, mean: Host, square: Host) -> Host:
        """Correct as if there had been ten steps at most."""
        count, self.count = self.count, min(self.count, 10)
        moved = super().moved(rule, mean, square)
        self.count = count
        return moved


class MomentsReset(FaultyTrainer):
    """Adam's moments are set back to zero every fifty steps."""

    part = Part.OPTIMISERS
    needs: ClassVar[frozenset[str]] = _ADAM

    def update(self, gradients: list[Host]) -> None:
        """Forget them."""
        if self.count and self.count % 50 == 0:
            for moments in (self.means, self.squares):
                moments[:] = [0 * moment for moment in moments]
        super().update(gradients)


class MomentsLostBetweenRuns(FaultyTrainer):
    """Adam begins anew with every run after one of several steps."""

    part = Part.OPTIMISERS
    needs: ClassVar[frozenset[str]] = _ADAM

    def run(
        self, steps: int, batches: Int[np.ndarray, "T *#R N"] | None = None, every: int = 1
    ) -> Record:
        """Set its state up afterwards."""
        record = super().run(steps, batches, every)
        if steps > 1:
            self.count = 0
            self.means = [0 * mean for mean in self.means]
            self.squares = [0 * square for square in self.squares]
        return record


class RateDecays(FaultyTrainer):
    """The learning rate decays by a percent every twenty steps."""

    part = Part.OPTIMISERS

    def update(self, gradients: list[Host]) -> None:
        """Lower it."""
        super().update(gradients)
        if self.count % 20 == 0:
            self.rates = (0.99 * self.rates).astype(self.rates.dtype)


class EpochsAlike(FaultyTrainer):
    """From the fortieth step of a run on, batches come again in the same order."""

    def chosen(self, batches: Int[np.ndarray, "T *#R N"] | None, step: int) -> Rows | None:
        """Begin again with the first."""
        return super().chosen(batches, step % 40)


class StopsLearning(FaultyTrainer):
    """The first layer's weights are frozen after thirty steps."""

    def update(self, gradients: list[Host]) -> None:
        """Put them back."""
        stays = self.theta[0].copy()
        super().update(gradients)
        if self.count > 30:
            self.theta[0] = stays


class WarmUp(FaultyTrainer):
    """Gradient descent gets momentum once it has warmed up, after twenty-five steps."""

    part = Part.OPTIMISERS

    def direction(self, index: int, gradient: Host) -> Host:
        """Add half of the gradient before."""
        move = super().direction(index, gradient)
        if not isinstance(self.settings.optimiser, Adam):
            before, self.means[index] = self.means[index], gradient
            if self.count > 25:
                move = (move + 0.5 * before).astype(gradient.dtype)
        return move


FAULTS = (
    BiasCorrectionFrozen,
    MomentsReset,
    MomentsLostBetweenRuns,
    RateDecays,
    EpochsAlike,
    StopsLearning,
    WarmUp,
)
