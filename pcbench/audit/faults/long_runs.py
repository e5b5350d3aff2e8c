"""Mistakes in training that show in no first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pcbench.audit.tables import trainer_faults
from pcbench.audit.trainer import FaultyTrainer
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import Adam, Record
from pcbench.contract.parts import Part

Method = Callable[..., Any]


def _corrected_for_ten_steps(
    trainer: FaultyTrainer, correct: Method, rule: Adam, mean: Host, square: Host
) -> Any:
    count, trainer.count = trainer.count, min(trainer.count, 10)
    moved = correct(rule, mean, square)
    trainer.count = count
    return moved


def _forget(trainer: FaultyTrainer) -> None:
    for moments in (trainer.means, trainer.squares):
        moments[:] = [0 * moment for moment in moments]


def _reset(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
    if trainer.count and trainer.count % 50 == 0:
        _forget(trainer)
    correct(gradients)


def _lost_between_runs(
    trainer: FaultyTrainer, correct: Method, steps: int, *arguments: Any
) -> Record:
    record: Record = correct(steps, *arguments)
    if steps > 1:
        trainer.count = 0
        _forget(trainer)
    return record


def _decaying(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
    correct(gradients)
    if trainer.count % 20 == 0:
        trainer.rates = (0.99 * trainer.rates).astype(trainer.rates.dtype)


def _frozen_after_thirty(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
    stays = trainer.theta[0].copy()
    correct(gradients)
    if trainer.count > 30:
        trainer.theta[0] = stays


def _warmed_up(trainer: FaultyTrainer, correct: Method, index: int, gradient: Host) -> Host:
    """Add half of the gradient before."""
    move: Host = correct(index, gradient)
    if not isinstance(trainer.settings.optimiser, Adam):
        before, trainer.means[index] = trainer.means[index], gradient
        if trainer.count > 25:
            move = (move + 0.5 * before).astype(gradient.dtype)
    return move


FAULTS = (
    *trainer_faults(Part.OPTIMISERS, "moved", needs={Trait.ADAM})(
        BiasCorrectionFrozen=(
            "Adam's bias correction stays what it is after the tenth step.",
            _corrected_for_ten_steps,
        )
    ),
    *trainer_faults(Part.OPTIMISERS, "update", needs={Trait.ADAM})(
        MomentsReset=("Adam's moments are set back to zero every fifty steps.", _reset)
    ),
    *trainer_faults(Part.OPTIMISERS, "run", needs={Trait.ADAM})(
        MomentsLostBetweenRuns=(
            "Adam begins anew with every run after one of several steps.",
            _lost_between_runs,
        )
    ),
    *trainer_faults(Part.OPTIMISERS, "update")(
        RateDecays=("The learning rate decays by a percent every twenty steps.", _decaying)
    ),
    *trainer_faults(Part.TRAINING, "chosen")(
        EpochsAlike=(
            "From the fortieth step of a run on, batches come again in the same order.",
            lambda trainer, correct, batches, step: correct(batches, step % 40),
        )
    ),
    *trainer_faults(Part.TRAINING, "update")(
        StopsLearning=(
            "The first layer's weights are frozen after thirty steps.",
            _frozen_after_thirty,
        )
    ),
    *trainer_faults(Part.OPTIMISERS, "direction")(
        WarmUp=(
            "Gradient descent gets momentum once it has warmed up, after twenty-five steps.",
            _warmed_up,
        )
    ),
)
