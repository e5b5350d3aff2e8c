"""Mistakes in what comes out: predictions, losses and energies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

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
)
