"""Mistakes in optimisers: the state of each replica, and Adam's corrections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pcbench.audit.tables import trainer_faults
from pcbench.audit.trainer import FaultyTrainer
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import Adam, Capability
from pcbench.contract.parts import Part

Method = Callable[..., Any]


def _reversed_rates(trainer: FaultyTrainer, correct: Method, replicas: int) -> None:
    correct(replicas)
    trainer.rates = trainer.rates[::-1].copy()


def _first_rates(trainer: FaultyTrainer, correct: Method, replicas: Sequence[int]) -> None:
    """Give the first rates to the replicas that are left."""
    rates = trainer.rates[: len(replicas)]
    correct(replicas)
    trainer.rates = rates


def _first_moments(trainer: FaultyTrainer, correct: Method, replicas: Sequence[int]) -> None:
    """Give the first moments to the replicas that are left."""
    means, squares = (
        [moment[: len(replicas)] for moment in moments]
        for moments in (trainer.means, trainer.squares)
    )
    correct(replicas)
    trainer.means, trainer.squares = means, squares


def _epsilon_under_the_root(
    trainer: FaultyTrainer, _: Method, rule: Adam, mean: Host, square: Host
) -> Any:
    unbiased = square / (1 - rule.beta_2**trainer.count)
    return mean / (1 - rule.beta_1**trainer.count) / np.sqrt(unbiased + rule.epsilon)


def _one_counted_before(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
    trainer.count = trainer.count or 1
    correct(gradients)


def _momentum(trainer: FaultyTrainer, correct: Method, index: int, gradient: Host) -> Host:
    """Add nine tenths of the move before."""
    move: Host = correct(index, gradient)
    if not isinstance(trainer.settings.optimiser, Adam):
        move = (0.9 * trainer.means[index] + move).astype(gradient.dtype)
        trainer.means[index] = move
    return move


FAULTS = (
    *trainer_faults(Part.OPTIMISERS, "begin", needs={Capability.REPLICAS, Trait.OWN_RATES})(
        SwappedRates=("Learning rates are handed to the replicas in reverse.", _reversed_rates)
    ),
    *trainer_faults(Part.OPTIMISERS, "keep", needs={Capability.REPLICAS, Trait.OWN_RATES})(
        KeepMixesRates=(
            "Replicas that are kept go on with the learning rates of others.",
            _first_rates,
        )
    ),
    *trainer_faults(Part.OPTIMISERS, "shared", needs={Trait.ADAM, Capability.REPLICAS})(
        SharedMoments=(
            "Replicas share Adam's second moment.",
            lambda trainer, correct, square: np.broadcast_to(square.mean(axis=0), square.shape),
        )
    ),
    *trainer_faults(Part.OPTIMISERS, "keep", needs={Trait.ADAM, Capability.REPLICAS})(
        KeepMixesMoments=(
            "Replicas that are kept go on with Adam's moments of others.",
            _first_moments,
        )
    ),
    *trainer_faults(Part.OPTIMISERS, "moved", needs={Trait.ADAM})(
        NoBiasCorrection=(
            "Adam's moments are taken as they are: their bias towards zero is not corrected.",
            lambda trainer, correct, rule, mean, square: mean / (np.sqrt(square) + rule.epsilon),
        ),
        EpsilonUnderTheRoot=("Adam's epsilon stands under the root.", _epsilon_under_the_root),
    ),
    *trainer_faults(Part.OPTIMISERS, "update", needs={Trait.ADAM})(
        StaleCount=("Adam counts its steps from one.", _one_counted_before)
    ),
    *trainer_faults(Part.OPTIMISERS, "direction")(
        Momentum=(
            "Gradient descent has momentum, the default of an optimiser that was copied.",
            _momentum,
        )
    ),
)
