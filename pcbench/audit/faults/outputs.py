"""Mistakes in what comes out: predictions, losses and energies, and the gradients of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench.audit.faults.inference import feedforward
from pcbench.audit.tables import Question, faults
from pcbench.audit.wrappers import Host
from pcbench.contract import Inference
from pcbench.contract.parts import Part


def _energies(change: Callable[[Host, Question], Any]) -> Callable[[Question], Any]:
    """Change energies of layers, ``(*R, L)``, wherever they are reported."""

    def wrong(q: Question) -> Any:
        correct = q.ask()
        if isinstance(correct, Inference):
            return replace(correct, energies=change(correct.energies, q))
        return change(correct, q)

    return wrong


def _last(q: Question) -> Any:
    """Which layer is the output layer."""
    return np.arange(q.network.n_layers) == q.network.n_layers - 1


def _gradients(change: Callable[[Host, Question], Any]) -> Callable[[Question], Any]:
    """Change every gradient."""
    return lambda q: [change(gradient, q) for gradient in q.ask()]


def _decayed(q: Question) -> list[Host]:
    return [g + 1e-2 * theta for g, theta in zip(q.ask(), q.model.parameters, strict=True)]


def _one_sample_left_out(q: Question) -> list[Host]:
    """The loop over samples that local gradients are added up in ends one too early."""
    samples = q.samples
    if samples < 2:
        return list(q.ask())
    fewer = {"activities": [z[..., :-1, :] for z in q.activities]}
    if q.precision is not None:
        fewer["precision"] = q.precision[..., :-1, :]
    return [gradient * (samples - 1) / samples for gradient in q.ask(**fewer)]


def _of_the_batch_before(q: Question) -> list[Host]:
    """Local gradients are those of the batch before."""
    activities, memory = q.activities, q.model.memory
    shapes = str([z.shape for z in activities])
    before = memory.get(shapes, activities)
    memory[shapes] = activities
    return list(q.ask(activities=before))


FAULTS = (
    *faults(Part.PREDICTION, "predict")(
        OffsetPrediction=("An offset of 0.1 was left in the prediction.", lambda q: q.ask() + 0.1),
        ShuffledPrediction=(
            "Predictions come in the opposite order of the samples.",
            lambda q: q.ask()[..., ::-1, :],
        ),
    ),
    *faults(Part.LOSS, "loss")(
        LossWithoutHalf=("The loss lacks its factor of one half.", lambda q: 2 * q.ask()),
        LossSummed=(
            "The loss is summed over the batch, where a mean is due.",
            lambda q: q.samples * q.ask(),
        ),
        LossAveragedOverOutputs=(
            "The loss is averaged over outputs as well, as ``mse_loss`` does.",
            lambda q: q.ask() / q.network.widths[-1],
        ),
        LossOfRootMeanSquare=(
            "The loss is the norm of the errors, not its square.",
            lambda q: q.ask() ** 0.5,
        ),
    ),
    *faults(Part.ENERGIES, "energies", "infer")(
        EnergiesWithoutHalf=(
            "Energies lack their factor of one half.",
            _energies(lambda energies, q: 2 * energies),
        ),
        EnergiesSummed=(
            "Energies are summed over the batch, where a mean is due.",
            _energies(lambda energies, q: q.samples * energies),
        ),
        EnergiesAveragedOverUnits=(
            "Each layer's energy is averaged over its units as well.",
            _energies(lambda energies, q: energies / np.asarray(q.network.widths[1:])),
        ),
        OutputEnergyOnly=(
            "Only the output layer's energy is counted.",
            _energies(lambda energies, q: energies * _last(q)),
        ),
        OutputEnergyForgotten=(
            "The output layer's energy is left out, as the loop over hidden layers ends before it.",
            _energies(lambda energies, q: energies * ~_last(q)),
        ),
        EnergiesInReverse=(
            "Energies are listed from the output down.",
            _energies(lambda energies, q: energies[..., ::-1]),
        ),
    ),
    *faults(Part.ENERGIES, "infer")(
        EnergyBeforeInference=(
            "The energy that is reported is that of the forward pass, before inference.",
            lambda q: replace(
                q.ask(),
                energies=q.also("loss", x=q.x, y=q.y, precision=q.precision)[..., None] * _last(q),
            ),
        )
    ),
    *faults(Part.LOSS_GRADIENTS, "loss_gradients")(
        LossGradientsSummed=(
            "Gradients of the loss are summed over the batch, where a mean is due.",
            _gradients(lambda g, q: q.samples * g),
        ),
        LossGradientsOfMeanSquare=(
            "Gradients are those of ``mse_loss``, 2/d_L times what is due.",
            _gradients(lambda g, q: 2 / q.network.widths[-1] * g),
        ),
        LossGradientsDecayed=("Weight decay was left in the gradients of the loss.", _decayed),
        FirstLayerDetached=(
            "The gradient of the loss is cut off above the first layer: a detach too many.",
            lambda q: [g if index else 0 * g for index, g in enumerate(q.ask())],
        ),
        LossGradientsDownhill=(
            "Gradients of the loss point downhill: the minus of the update is in them already.",
            _gradients(lambda g, q: -1 * g),
        ),
        LossGradientsClipped=(
            "Gradients of the loss are clipped to a norm of a tenth.",
            _gradients(lambda g, q: g * min(1.0, 0.1 / (float(np.linalg.norm(g)) or 0.1))),
        ),
    ),
    *faults(Part.ENERGY_GRADIENTS, "energy_gradients")(
        EnergyGradientsSummed=(
            "Local gradients are summed over the batch, where a mean is due.",
            _gradients(lambda g, q: q.samples * g),
        ),
        EnergyGradientsUphill=(
            "Local gradients have the sign of the Hebbian update, not of the gradient.",
            _gradients(lambda g, q: -1 * g),
        ),
        EnergyGradientsTransposed=(
            "The outer product is the wrong way round, which the shape of a square layer lets "
            "pass.",
            lambda q: [
                np.swapaxes(g, -1, -2) if len(shape) == 2 and shape[0] == shape[1] else g
                for g, shape in zip(q.ask(), q.shapes, strict=True)
            ],
        ),
        EnergyGradientsDecayed=("Weight decay was left in the local gradients.", _decayed),
        LastLayerHalved=(
            "The last layer's local gradient has a half too many.",
            lambda q: [
                g / 2 if index == q.network.n_layers - 1 else g for index, g in enumerate(q.ask())
            ],
        ),
        OneSampleLeftOut=_one_sample_left_out,
        StaleActivities=_of_the_batch_before,
    ),
    *faults(Part.ENERGY_GRADIENTS, "energy_gradients", when=lambda q: q.plain)(
        GradientsBeforeInference=(
            "Weights learn from the activities of the forward pass: inference comes to nothing.",
            lambda q: q.ask(activities=[*feedforward(q, q.activities[0])[:-1], q.activities[-1]]),
        )
    ),
)
