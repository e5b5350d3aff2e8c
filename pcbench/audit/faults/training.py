"""Mistakes in a trainer: by what rule and from what it learns, and what it records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench.audit.tables import faults, trainer_faults
from pcbench.audit.trainer import FaultyTrainer, Rows, Slope
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import Capability, Model
from pcbench.contract.parts import Part

Method = Callable[..., Any]


def _previous_batch(
    trainer: FaultyTrainer, correct: Method, place: int, rows: Rows | None
) -> Slope:
    """Gradients are those of the batch before."""
    slope: Slope = correct(place, rows)
    batches = vars(trainer).setdefault("batches", [None])
    if place == 0:
        batches[:] = [batches[-1], rows]
    if batches[-2] is None:
        return slope
    return replace(slope, gradients=correct(place, batches[-2]).gradients)


class LeavesItsModel(FaultyTrainer):
    """The model of a trainer stays where training began."""

    @property
    def model(self) -> Model[Any]:  # type: ignore[override]
        """The one that it came from."""
        return self.origin.inner


def _lives_on_the_host(trainer: FaultyTrainer, correct: Method, *gradients: list[Host]) -> Any:
    """Parameters are brought to the host without a copy, and go on learning there."""
    found, kept = correct(*gradients), vars(trainer)
    if not gradients:  # these are the parameters
        kept["given"] = found
        return found
    for there, here in zip(kept.get("given", ()), FaultyTrainer.parameters(trainer), strict=False):
        if there.shape == here.shape:
            there[:] = here
    return found


def _stale_activities(
    trainer: FaultyTrainer, _: Method, place: int, reached: list[Any]
) -> list[Any]:
    """Weights learn from the activities of the step before."""
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
    """Training begins beside the model's parameters: they are initialised once more."""
    correct(replicas)
    trainer.theta[0] = trainer.theta[0] * trainer.theta[0].dtype.type(1.001)


def _moves_its_model(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
    """Training writes into the model that it came from: nothing was copied."""
    correct(gradients)
    origin = trainer.origin
    at_first = len(origin.parameters[0]) if origin.replicated else 1
    if len(trainer.theta[0]) == len(trainer.alive) == at_first:
        origin.inner = trainer.backend.build(origin.network, trainer.parameters())


def _becomes_nan(trainer: FaultyTrainer, correct: Method, gradients: list[Host]) -> None:
    """Parameters become NaN in the first step: a division by a norm of zero."""
    correct(gradients)
    trainer.theta[0][:] = np.nan


def _recorded(name: str, change: Callable[[FaultyTrainer, Any], Any]) -> Method:
    """Change one of the numbers that are recorded of a step."""

    def wrong(trainer: FaultyTrainer, correct: Method, *step: Any) -> Any:
        found = correct(*step)
        return found | {name: change(trainer, np.array(found[name]))}

    return wrong


def _after_the_update(name: str) -> Method:
    """Record a loss or an energy that is computed anew."""

    def wrong(trainer: FaultyTrainer, correct: Method, *step: Any) -> Any:
        *_, rows = step
        after = [trainer.slope(place, rows) for place in range(len(trainer.alive))]
        values = {"losses": [s.loss for s in after], "energies": [s.energy for s in after]}
        return correct(*step) | {name: values[name]}

    return wrong


def _records_the_first(
    _: FaultyTrainer, correct: Method, steps: int, *more: Any, **named: Any
) -> Any:
    """A run records the loss of its first step, over and over."""
    record = correct(steps, *more, **named)
    return replace(record, losses=np.repeat(record.losses[:1], steps, axis=0))


RULES = (
    *faults(Part.TRAINING, "trainer", needs={Trait.PREDICTIVE_CODING})(
        PredictiveCodingIsBackpropagation=(
            "What calls itself predictive coding is backpropagation: nothing is inferred.",
            lambda q: q.adjusted(objective="loss"),
        )
    ),
    *faults(Part.TRAINING, "trainer", needs={Trait.BACKPROPAGATION})(
        BackpropagationInfers=(
            "What calls itself backpropagation infers first.",
            lambda q: q.adjusted(objective="energy"),
        )
    ),
    *faults(Part.TRAINING, "trainer", needs={Trait.SCALED})(
        ScaleForgotten=(
            "Gradients are not scaled as asked for.",
            lambda q: q.adjusted(scale=1.0),
        )
    ),
    *faults(Part.OPTIMISERS, "trainer")(
        LongerSteps=(
            "Steps are a hundredth longer than asked for: by a schedule that was not asked for.",
            lambda q: q.adjusted(learning_rate=1.01 * q.settings.learning_rate),
        ),
        Ascent=(
            "The update is added, not subtracted: training climbs.",
            lambda q: q.adjusted(scale=-q.settings.scale),
        ),
    ),
)
LEARNING = (
    *trainer_faults(Part.TRAINING, "slope")(PreviousBatch=_previous_batch),
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
        LearnsFromStaleActivities=_stale_activities
    ),
    LeavesItsModel,
    *trainer_faults(Part.TRAINING, "parameters", "update")(LivesOnTheHost=_lives_on_the_host),
    *trainer_faults(Part.TRAINING, "update")(
        FirstLayerFrozen=(
            "The first layer's weights are not updated.",
            frozen(lambda layers: slice(1)),
        ),
        LastLayerFrozen=(
            "The last layer's weights are not updated.",
            frozen(lambda layers: slice(layers - 1, layers)),
        ),
        MovesItsModel=_moves_its_model,
        ParametersBecomeNan=_becomes_nan,
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
    *trainer_faults(Part.TRAINING, "begin")(StartsElsewhere=_starts_elsewhere),
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
    *trainer_faults(Part.TRAINING, "recorded")(
        LossAfter=(
            "The loss that is recorded is that after the update.",
            _after_the_update("losses"),
        ),
        EnergyAfter=(
            "The energy that is recorded is that after the update.",
            _after_the_update("energies"),
        ),
    ),
    *trainer_faults(Part.TRAINING, "recorded", needs={Trait.SCALED})(
        ScaledNorms=(
            "The gradient norms that are recorded are those after scaling.",
            _recorded("gradient_norms", lambda trainer, norms: trainer.settings.scale * norms),
        )
    ),
    *trainer_faults(Part.TRAINING, "recorded", needs={Capability.REPLICAS})(
        NormsOfNeighbours=(
            "Replicas are recorded with each other's gradient norms.",
            _recorded("gradient_norms", lambda trainer, norms: norms[::-1]),
        )
    ),
    *trainer_faults(Part.TRAINING, "recorded")(
        NormsAfter=(
            "The parameter norms that are recorded are those after the update.",
            lambda trainer, correct, slopes, before, rows: correct(slopes, trainer.theta, rows),
        )
    ),
    *trainer_faults(Part.TRAINING, "run")(
        RecordsEveryStep=(
            "Norms are recorded at every step, whatever was asked for.",
            lambda trainer, correct, steps, batches=None, every=1: correct(steps, batches),
        ),
        RecordsTheFirst=_records_the_first,
    ),
    *trainer_faults(Part.TRAINING, "recorded", needs={Trait.ITERATIVE})(
        ResidualHalved=(
            "The residual of inference that is recorded is half of what was left.",
            _recorded("residuals", lambda trainer, residuals: 0.5 * residuals),
        ),
        InferenceNotCounted=(
            "Steps of inference are not counted.",
            _recorded("inference_steps", lambda trainer, steps: 0 * steps),
        ),
    ),
    *trainer_faults(Part.TRAINING, "recorded", needs={Capability.REPLICAS})(
        ForgetsAReplica=(
            "One replica is missing in what is recorded.",
            lambda trainer, correct, slopes, *more: correct(slopes[1:] or slopes, *more),
        )
    ),
)
FAULTS = (*RULES, *LEARNING, *RECORDS)
