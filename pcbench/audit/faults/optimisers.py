"""Mistakes in optimisers: the state of each replica, and Adam's corrections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pcbench.audit.trainer import FaultyTrainer
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import Adam, Capability
from pcbench.contract.parts import Part

_ADAM = frozenset({Trait.ADAM})
_REPLICAS = frozenset({Capability.REPLICAS})


class SwappedRates(FaultyTrainer):
    """Learning rates are handed to the replicas in reverse."""

    part = Part.OPTIMISERS
    needs: ClassVar[frozenset[str]] = _REPLICAS | {Trait.OWN_RATES}

    def begin(self, replicas: int) -> None:
        """Turn them round."""
        super().begin(replicas)
        self.rates = self.rates[::-1].copy()


class KeepMixesRates(FaultyTrainer):
    """Replicas that are kept go on with the learning rates of others."""

    part = Part.OPTIMISERS
    needs: ClassVar[frozenset[str]] = _REPLICAS | {Trait.OWN_RATES}

    def keep(self, replicas: Sequence[int]) -> None:
        """Give the first rates to whoever is left."""
        rates = self.rates[: len(replicas)]
        super().keep(replicas)
        self.rates = rates


class SharedMoments(FaultyTrainer):
    """Replicas share Adam's second moment."""

    part = Part.OPTIMISERS
    needs: ClassVar[frozenset[str]] = _ADAM | _REPLICAS

    def shared(self, square: Host) -> Host:
        """Average it."""
        return np.asarray(np.broadcast_to(square.mean(axis=0), square.shape))


class KeepMixesMoments(FaultyTrainer):
    """Replicas that are kept go on with Adam's moments of others."""

    part = Part.OPTIMISERS
    needs: ClassVar[frozenset[str]] = _ADAM | _REPLICAS

    def keep(self, replicas: Sequence[int]) -> None:
        """Give the first moments to whoever is left."""
        means, squares = ([a[: len(replicas)] for a in m] for m in (self.means, self.squares))
        super().keep(replicas)
        self.means, self.squares = means, squares


class NoBiasCorrection(FaultyTrainer):
    """Adam's moments are taken as they are: their bias towards zero is not corrected."""

    part = Part.OPTIMISERS
    needs: ClassVar[frozenset[str]] = _ADAM

    def moved(self, rule: Adam, mean: Host, square: Host) -> Host:
        """Divide as they stand."""
        return np.asarray(mean / (np.sqrt(square) + rule.epsilon))


class EpsilonUnderTheRoot(FaultyTrainer):
    """Adam's epsilon stands under the root."""

    part = Part.OPTIMISERS
    needs: ClassVar[frozenset[str]] = _ADAM

    def moved(self, rule: Adam, mean: Host, square: Host) -> Host:
        """Add it before the root is taken."""
        unbiased = square / (1 - rule.beta_2**self.count)
        moved = mean / (1 - rule.beta_1**self.count) / np.sqrt(unbiased + rule.epsilon)
        return np.asarray(moved)


class StaleCount(FaultyTrainer):
    """Adam counts its steps from one."""

    part = Part.OPTIMISERS
    needs: ClassVar[frozenset[str]] = _ADAM

    def update(self, gradients: list[Host]) -> None:
        """Have counted one before the first."""
        self.count = self.count or 1
        super().update(gradients)


class Momentum(FaultyTrainer):
    """Gradient descent has momentum, the default of an optimiser that was copied."""

    part = Part.OPTIMISERS

    def direction(self, index: int, gradient: Host) -> Host:
        """Add nine tenths of the move before."""
        move = super().direction(index, gradient)
        if not isinstance(self.settings.optimiser, Adam):
            move = self.means[index] = (0.9 * self.means[index] + move).astype(gradient.dtype)
        return move


FAULTS = (
    SwappedRates,
    KeepMixesRates,
    SharedMoments,
    KeepMixesMoments,
    NoBiasCorrection,
    EpsilonUnderTheRoot,
    StaleCount,
    Momentum,
)
