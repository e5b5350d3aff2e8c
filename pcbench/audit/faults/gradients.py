"""Mistakes in gradients, of the loss and of the energy."""

from __future__ import annotations

from typing import Any

import numpy as np

from pcbench.audit.faults.inference import feedforward
from pcbench.audit.tables import Question, faults
from pcbench.audit.wrappers import Host
from pcbench.contract.parts import Part


def _scaled(q: Question, factor: int | float) -> list[Host]:
    return [factor * gradient for gradient in q.ask()]


def _decayed(q: Question) -> list[Host]:
    correct = zip(q.ask(), q.model.parameters, strict=True)
    return [gradient + 1e-2 * parameter for gradient, parameter in correct]


def _clipped(gradient: Host) -> Any:
    norm = float(np.linalg.norm(gradient))
    return gradient * min(1.0, 0.1 / norm) if norm > 0 else gradient


def _transposed(q: Question) -> list[Host]:
    """Transpose what is a square matrix."""
    correct = q.ask()
    for index, shape in enumerate(q.network.shapes):
        if len(shape) == 2 and shape[0] == shape[1]:
            correct[index] = np.swapaxes(correct[index], -1, -2)
    return list(correct)


def _last_halved(q: Question) -> list[Host]:
    last = q.network.n_layers - 1
    return [g / 2 if index == last else g for index, g in enumerate(q.ask())]


def _one_sample_left_out(q: Question) -> list[Host]:
    """Leave the last sample out, and divide by the size of the whole batch all the same."""
    samples = q.samples
    if samples < 2:
        return list(q.ask())
    fewer = {"activities": [z[..., :-1, :] for z in q.activities]}
    if q.precision is not None:
        fewer["precision"] = q.precision[..., :-1, :]
    return [gradient * (samples - 1) / samples for gradient in q.ask(**fewer)]


def _of_the_batch_before(q: Question) -> list[Host]:
    activities, memory = q.activities, q.model.memory
    shapes = str([z.shape for z in activities])
    before = memory.get(shapes, activities)
    memory[shapes] = activities
    return list(q.ask(activities=before))


FAULTS = (
    *faults(Part.LOSS_GRADIENTS, "loss_gradients")(
        LossGradientsSummed=(
            "Gradients of the loss are summed over the batch, where a mean is due.",
            lambda q: _scaled(q, q.samples),
        ),
        LossGradientsOfMeanSquare=(
            "Gradients are those of ``mse_loss``, 2/d_L times what is due.",
            lambda q: _scaled(q, 2 / q.network.widths[-1]),
        ),
        LossGradientsDecayed=("Weight decay was left in the gradients of the loss.", _decayed),
        FirstLayerDetached=(
            "The gradient of the loss is cut off above the first layer: a detach too many.",
            lambda q: [g if index else 0 * g for index, g in enumerate(q.ask())],
        ),
        LossGradientsDownhill=(
            "Gradients of the loss point downhill: the minus of the update is in them already.",
            lambda q: _scaled(q, -1),
        ),
        LossGradientsClipped=(
            "Gradients of the loss are clipped to a norm of a tenth.",
            lambda q: [_clipped(gradient) for gradient in q.ask()],
        ),
    ),
    *faults(Part.ENERGY_GRADIENTS, "energy_gradients")(
        EnergyGradientsSummed=(
            "Local gradients are summed over the batch, where a mean is due.",
            lambda q: _scaled(q, q.samples),
        ),
        EnergyGradientsUphill=(
            "Local gradients have the sign of the Hebbian update, not of the gradient.",
            lambda q: _scaled(q, -1),
        ),
        EnergyGradientsTransposed=(
            "The outer product is the wrong way round, which the shape of a square layer lets "
            "pass.",
            _transposed,
        ),
        EnergyGradientsDecayed=("Weight decay was left in the local gradients.", _decayed),
        LastLayerHalved=("The last layer's local gradient has a half too many.", _last_halved),
        OneSampleLeftOut=(
            "The loop over samples that local gradients are added up in ends one too early.",
            _one_sample_left_out,
        ),
        StaleActivities=("Local gradients are those of the batch before.", _of_the_batch_before),
    ),
    *faults(Part.ENERGY_GRADIENTS, "energy_gradients", when=lambda q: q.plain)(
        GradientsBeforeInference=(
            "Weights learn from the activities of the forward pass: inference comes to nothing.",
            lambda q: q.ask(activities=[*feedforward(q, q.activities[0])[:-1], q.activities[-1]]),
        )
    ),
)
