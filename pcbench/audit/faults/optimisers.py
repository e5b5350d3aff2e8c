"""Mistakes in optimisers: states of replicas, Adam's corrections, and what only long runs show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pcbench.audit.faults.training import Method, frozen
from pcbench.audit.tables import trainer_faults
from pcbench.audit.trainer import FaultyTrainer
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import Adam, Capability
from pcbench.contract.parts import Part


def _reversed_rates(trainer: FaultyTrainer, correct: Method, replicas: int) -> None:
    """Learning rates are handed to the replicas in reverse."""
    correct(replicas)
    trainer.rates = trainer.rates[::-1].copy()


def _first_rates(trainer: FaultyTrainer, correct: Method, replicas: Sequence[int]) -> None:
    """Replicas that are kept go on with the learning rates of others."""
    rates = trainer.rates[: len(replicas)]
    correct(replicas)
    trainer.rates = rates


def _first_moments(trainer: FaultyTrainer, correct: Method, replicas: Sequence[int]) -> None:
    """Replicas that are kept go on with Adam's moments of others."""
    means, squares = (
        [moment[: len(replicas)] for moment in moments]
        for moments in (trainer.means, trainer.squares)
    )
    correct(replicas)
    trainer.means, trainer.squares = means, squares


def _one_counted_before(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
    """Adam counts its steps from one."""
    trainer.count = trainer.count or 1
    correct(gradients)


def _momentum(trainer: FaultyTrainer, correct: Method, index: int, gradient: Host) -> Host:
    """Gradient descent has momentum, the default of an optimiser that was copied."""
    move: Host = correct(index, gradient)
    if not isinstance(trainer.settings.optimiser, Adam):
        move = (0.9 * trainer.means[index] + move).astype(gradient.dtype)
        trainer.means[index] = move
    return move


OPTIMISERS = (
    *trainer_faults(Part.OPTIMISERS, "begin", needs={Capability.REPLICAS, Trait.OWN_RATES})(
        SwappedRates=_reversed_rates
    ),
    *trainer_faults(Part.OPTIMISERS, "keep", needs={Capability.REPLICAS, Trait.OWN_RATES})(
        KeepMixesRates=_first_rates
    ),
    *trainer_faults(Part.OPTIMISERS, "shared", needs={Trait.ADAM, Capability.REPLICAS})(
        SharedMoments=(
            "Replicas share Adam's second moment.",
            lambda trainer, correct, square: np.broadcast_to(square.mean(axis=0), square.shape),
        )
    ),
    *trainer_faults(Part.OPTIMISERS, "keep", needs={Trait.ADAM, Capability.REPLICAS})(
        KeepMixesMoments=_first_moments
    ),
    *trainer_faults(Part.OPTIMISERS, "moved", needs={Trait.ADAM})(
        NoBiasCorrection=(
            "Adam's moments are taken as they are: their bias towards zero is not corrected.",
            lambda trainer, correct, rule, mean, square: mean / (np.sqrt(square) + rule.epsilon),
        ),
        EpsilonUnderTheRoot=(
            "Adam's epsilon stands under the root.",
            lambda trainer, correct, rule, mean, square: (
                mean
                / (1 - rule.beta_1**trainer.count)
                / np.sqrt(square / (1 - rule.beta_2**trainer.count) + rule.epsilon)
            ),
        ),
    ),
    *trainer_faults(Part.OPTIMISERS, "update", needs={Trait.ADAM})(StaleCount=_one_counted_before),
    *trainer_faults(Part.OPTIMISERS, "direction")(Momentum=_momentum),
)


def _corrected_for_ten_steps(
    trainer: FaultyTrainer, correct: Method, rule: Adam, mean: Host, square: Host
) -> Any:
    """Adam's bias correction stays what it is after the tenth step."""
    count, trainer.count = trainer.count, min(trainer.count, 10)
    moved = correct(rule, mean, square)
    trainer.count = count
    return moved


def _forget(trainer: FaultyTrainer) -> None:
    for moments in (trainer.means, trainer.squares):
        moments[:] = [0 * moment for moment in moments]


def _reset(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
    """Adam's moments are set back to zero every fifty steps."""
    if trainer.count and trainer.count % 50 == 0:
        _forget(trainer)
    correct(gradients)


def _lost_between_runs(
    trainer: FaultyTrainer, correct: Method, steps: int, *arguments: Any, **more: Any
) -> Any:
    """Adam begins anew with every run after one of several steps."""
    record = correct(steps, *arguments, **more)
    if steps > 1:
        trainer.count = 0
        _forget(trainer)
    return record


def _decaying(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
    """The learning rate decays by a percent every twenty steps."""
    correct(gradients)
    if trainer.count % 20 == 0:
        trainer.rates = (0.99 * trainer.rates).astype(trainer.rates.dtype)


def _warmed_up(trainer: FaultyTrainer, correct: Method, index: int, gradient: Host) -> Host:
    """Gradient descent gets momentum once it has warmed up, after twenty-five steps."""
    move: Host = correct(index, gradient)
    if not isinstance(trainer.settings.optimiser, Adam):
        before, trainer.means[index] = trainer.means[index], gradient
        if trainer.count > 25:
            move = (move + 0.5 * before).astype(gradient.dtype)
    return move


LONG_RUNS = (
    *trainer_faults(Part.OPTIMISERS, "moved", needs={Trait.ADAM})(
        BiasCorrectionFrozen=_corrected_for_ten_steps
    ),
    *trainer_faults(Part.OPTIMISERS, "update", needs={Trait.ADAM})(MomentsReset=_reset),
    *trainer_faults(Part.OPTIMISERS, "run", needs={Trait.ADAM})(
        MomentsLostBetweenRuns=_lost_between_runs
    ),
    *trainer_faults(Part.OPTIMISERS, "update")(RateDecays=_decaying),
    *trainer_faults(Part.TRAINING, "chosen")(
        EpochsAlike=(
            "From the fortieth step of a run on, batches come again in the same order.",
            lambda trainer, correct, batches, step: correct(batches, step % 40),
        )
    ),
    *trainer_faults(Part.TRAINING, "update")(
        StopsLearning=(
            "The first layer's weights are frozen after thirty steps.",
            frozen(lambda layers: slice(1), after=30),
        )
    ),
    *trainer_faults(Part.OPTIMISERS, "direction")(WarmUp=_warmed_up),
)
FAULTS = (*OPTIMISERS, *LONG_RUNS)
