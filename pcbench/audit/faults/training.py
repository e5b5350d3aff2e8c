"""Mistakes in a trainer: by what rule and from what it learns, and what it records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench.audit.tables import Question, faults, trainer_faults
from pcbench.audit.trainer import FaultyTrainer, Rows, Slope
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import Capability, Model
from pcbench.contract.parts import Part

Method = Callable[..., Any]


def _other_settings(change: Callable[[Any], dict[str, Any]]) -> Callable[[Question], Any]:
    """Train by other settings than were asked for."""
    return lambda q: q.ask(settings=replace(q.settings, **change(q.settings)))


class PreviousBatch(FaultyTrainer):
    """Gradients are those of the batch before."""

    _now: Rows | None = None
    _before: Rows | None = None

    def slope(self, place: int, rows: Rows | None) -> Slope:
        """Keep the rows for the next step."""
        correct = super().slope(place, rows)
        if place == 0:
            self._before, self._now = self._now, rows
        if self._before is None:
            return correct
        return replace(correct, gradients=super().slope(place, self._before).gradients)


class LeavesItsModel(FaultyTrainer):
    """The model of a trainer stays where training began."""

    @property
    def model(self) -> Model[Any]:  # type: ignore[override]
        """The one that it came from."""
        return self.origin.inner


class LivesOnTheHost(FaultyTrainer):
    """Parameters are brought to the host without a copy, and go on learning there."""

    _given: Sequence[Host] = ()

    def parameters(self) -> list[Host]:
        """Remember what was given."""
        found = super().parameters()
        self._given = found
        return found

    def update(self, gradients: list[Host]) -> None:
        """Write into it."""
        super().update(gradients)
        for there, here in zip(self._given, super().parameters(), strict=False):
            if there.shape == here.shape:
                there[:] = here


def _stale_activities(
    trainer: FaultyTrainer, _: Method, place: int, reached: list[Any]
) -> list[Any]:
    kept, own = vars(trainer).setdefault("kept", {}), trainer.alive[place]
    stale: list[Any] = kept.get(own, reached)
    kept[own] = reached
    return stale


def frozen(which: Callable[[int], slice], *, after: int = 0) -> Method:
    """Put parameters back after updates: which of them, the number of layers says."""

    def wrong(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
        layers = which(trainer.network.n_layers)
        stay = [array.copy() for array in trainer.theta[layers]]
        correct(gradients)
        if trainer.count > after:
            trainer.theta[layers] = stay

    return wrong


def _starts_elsewhere(trainer: FaultyTrainer, correct: Method, replicas: int) -> None:
    correct(replicas)
    trainer.theta[0] = trainer.theta[0] * trainer.theta[0].dtype.type(1.001)


def _moves_its_model(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
    correct(gradients)
    origin = trainer.origin
    at_first = len(origin.parameters[0]) if origin.replicated else 1
    if len(trainer.theta[0]) == len(trainer.alive) == at_first:
        origin.inner = trainer.backend.build(origin.network, trainer.parameters())


def _becomes_nan(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
    correct(gradients)
    trainer.theta[0][:] = np.nan


def _after_the_update(name: str) -> Method:
    """Record a loss or an energy that is computed anew."""

    def wrong(trainer: FaultyTrainer, correct: Method, slopes: list[Slope], rows: Any) -> Any:
        after = [getattr(trainer.slope(place, rows), name) for place in range(len(slopes))]
        told = zip(slopes, after, strict=True)
        return correct([replace(slope, **{name: value}) for slope, value in told], rows)

    return wrong


def _recorded(name: str, factor: float) -> Method:
    """Multiply a number that is recorded of where each step began, an attribute of `Slope`."""
    return lambda trainer, correct, slopes, before: correct(
        [replace(slope, **{name: factor * getattr(slope, name)}) for slope in slopes], before
    )


def _norms(change: Callable[..., Any]) -> Method:
    """Change the gradient norms that are recorded, a list for each replica."""

    def wrong(trainer: FaultyTrainer, correct: Method, *step: Any) -> Any:
        norms, *others = correct(*step)
        return change(trainer, norms), *others

    return wrong


def _records_the_first(
    _: FaultyTrainer, correct: Method, steps: int, *more: Any, **named: Any
) -> Any:
    record = correct(steps, *more, **named)
    return replace(record, losses=np.repeat(record.losses[:1], steps, axis=0))


RULES = (
    *faults(Part.TRAINING, "trainer", needs={Trait.PREDICTIVE_CODING})(
        PredictiveCodingIsBackpropagation=(
            "What calls itself predictive coding is backpropagation: nothing is inferred.",
            _other_settings(lambda asked: {"objective": "loss"}),
        )
    ),
    *faults(Part.TRAINING, "trainer", needs={Trait.BACKPROPAGATION})(
        BackpropagationInfers=(
            "What calls itself backpropagation infers first.",
            _other_settings(lambda asked: {"objective": "energy"}),
        )
    ),
    *faults(Part.TRAINING, "trainer", needs={Trait.SCALED})(
        ScaleForgotten=(
            "Gradients are not scaled as asked for.",
            _other_settings(lambda asked: {"scale": 1.0}),
        )
    ),
    *faults(Part.OPTIMISERS, "trainer")(
        LongerSteps=(
            "Steps are a hundredth longer than asked for: by a schedule that was not asked for.",
            _other_settings(lambda asked: {"learning_rate": 1.01 * asked.learning_rate}),
        ),
        Ascent=(
            "The update is added, not subtracted: training climbs.",
            _other_settings(lambda asked: {"scale": -asked.scale}),
        ),
    ),
)
LEARNING = (
    PreviousBatch,
    *trainer_faults(Part.TRAINING, "scaled")(
        SumForMean=(
            "The gradient that is followed is summed over the batch; the one that is recorded is "
            "not.",
            lambda trainer, correct, gradients: [
                len(trainer.batch(0, trainer.rows)[0]) * g for g in correct(gradients)
            ],
        )
    ),
    *trainer_faults(Part.TRAINING, "activities", needs={Trait.PREDICTIVE_CODING})(
        LearnsFromStaleActivities=(
            "Weights learn from the activities of the step before.",
            _stale_activities,
        )
    ),
    LeavesItsModel,
    LivesOnTheHost,
    *trainer_faults(Part.TRAINING, "update")(
        FirstLayerFrozen=(
            "The first layer's weights are not updated.",
            frozen(lambda layers: slice(1)),
        ),
        LastLayerFrozen=(
            "The last layer's weights are not updated.",
            frozen(lambda layers: slice(layers - 1, layers)),
        ),
        MovesItsModel=(
            "Training writes into the model that it came from: nothing was copied.",
            _moves_its_model,
        ),
        ParametersBecomeNan=(
            "Parameters become NaN in the first step: a division by a norm of zero.",
            _becomes_nan,
        ),
    ),
    *trainer_faults(Part.BIASES, "update", needs={Trait.BIAS})(
        BiasesFrozen=(
            "Biases are not updated: they were not handed to the optimiser.",
            frozen(lambda layers: slice(layers, None)),
        )
    ),
    *trainer_faults(Part.TRAINING, "chosen")(
        OneBatchARun=(
            "A run sees its first batch at every step.",
            lambda trainer, correct, batches, step: correct(batches, 0),
        )
    ),
    *trainer_faults(Part.TRAINING, "begin")(
        StartsElsewhere=(
            "Training begins beside the model's parameters: they are initialised once more.",
            _starts_elsewhere,
        )
    ),
    *trainer_faults(Part.TRAINING, "keep", needs={Capability.REPLICAS})(
        KeepsInOrder=(
            "Replicas are kept in the order that they had, whatever was asked for.",
            lambda trainer, correct, replicas: correct(sorted(replicas)),
        ),
        KeepsTheFirst=(
            "As many replicas are kept as asked for, but the first ones.",
            lambda trainer, correct, replicas: correct(range(len(replicas))),
        ),
    ),
)
RECORDS = (
    *trainer_faults(Part.TRAINING, "values")(
        LossAfter=(
            "The loss that is recorded is that after the update.",
            _after_the_update("loss"),
        ),
        EnergyAfter=(
            "The energy that is recorded is that after the update.",
            _after_the_update("energy"),
        ),
    ),
    *trainer_faults(Part.TRAINING, "details", needs={Trait.SCALED})(
        ScaledNorms=(
            "The gradient norms that are recorded are those after scaling.",
            _norms(lambda trainer, norms: trainer.settings.scale * np.array(norms)),
        )
    ),
    *trainer_faults(Part.TRAINING, "details", needs={Capability.REPLICAS})(
        NormsOfNeighbours=(
            "Replicas are recorded with each other's gradient norms.",
            _norms(lambda trainer, norms: norms[::-1]),
        )
    ),
    *trainer_faults(Part.TRAINING, "details")(
        NormsAfter=(
            "The parameter norms that are recorded are those after the update.",
            lambda trainer, correct, slopes, before: correct(slopes, trainer.theta),
        )
    ),
    *trainer_faults(Part.TRAINING, "run")(
        RecordsEveryStep=(
            "Norms are recorded at every step, whatever was asked for.",
            lambda trainer, correct, steps, batches=None, every=1: correct(steps, batches),
        ),
        RecordsTheFirst=(
            "A run records the loss of its first step, over and over.",
            _records_the_first,
        ),
    ),
    *trainer_faults(Part.TRAINING, "details", needs={Trait.ITERATIVE})(
        ResidualHalved=(
            "The residual of inference that is recorded is half of what was left.",
            _recorded("residual", 0.5),
        ),
        InferenceNotCounted=(
            "Steps of inference are not counted.",
            _recorded("steps", 0),
        ),
    ),
    *trainer_faults(Part.TRAINING, "values", "details", needs={Capability.REPLICAS})(
        ForgetsAReplica=(
            "One replica is missing in what is recorded.",
            lambda trainer, correct, slopes, context: correct(slopes[1:] or slopes, context),
        )
    ),
)
FAULTS = (*RULES, *LEARNING, *RECORDS)
