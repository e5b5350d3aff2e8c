"""Backends with one deliberate mistake each, the kind that people make, around the correct one.

Those of the audit's catalogue that a linear network can meet, and more: rows of the same tables,
put into the PyTorch backend.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pcbench.audit import Part
from pcbench.audit.tables import faults
from pcbench.contract import Backend, GradientInference
from tests.cases.faulty.catalogued import as_backends

FEW_STEPS = GradientInference(step=0.1, max_steps=5, residual=1e-12)


def last_block_halved(q):
    last = q.model.weights[-1].size

    def mistake(product, vectors):
        alone = np.zeros_like(vectors)
        alone[:, -last:] = vectors[:, -last:]
        found = np.array(product(vectors))
        found[:, -last:] -= product(alone)[:, -last:] / 2
        return found

    return q.multiplied(mistake)


def block_copied(q):
    last = q.model.weights[-1].size

    def mistake(product, vectors):
        hessian = np.array(product(np.eye(vectors.shape[1])))
        hessian[-last:, :-last] = hessian[:-last, -last:].reshape(last, -1)
        return vectors @ hessian

    return q.multiplied(mistake)


def positive_part(q):
    def mistake(product, vectors):
        values, basis = np.linalg.eigh(product(np.eye(vectors.shape[1])))
        return vectors @ (basis * values.clip(min=0)) @ basis.T

    return q.multiplied(mistake)


def loss_reported(q):
    layers = q.network.n_layers
    share = 2 * q.also("loss", x=q.x, y=q.y) / layers
    return replace(q.ask(), energies=np.repeat(share, layers))


FAULTS: dict[str, type[Backend]] = as_backends(
    "NoIdentity",
    "SumFromOne",
    "SumFromThree",
    "TransposedJacobian",
    "WrongSign",
    "FiveSteps",
    "HiddenLayersSwapped",
    "OutputRelaxes",
    "StandardisedInput",
    "OutputEnergyOnly",
    "EnergiesWithoutHalf",
    "EnergyGradientsSummed",
    "LossAveragedOverOutputs",
    "OffsetPrediction",
    "SilentResidual",
    "LossForEnergyHessian",
    "EnergyForLossHessian",
    *faults(Part.INFERENCE, "infer")(
        GivesUp=(
            "Inference stops after 5 steps and says so.",
            lambda q: q.ask(settings=FEW_STEPS),
        ),
        InferenceReportsLoss=(
            "The energy reported is the one before inference, twice over.",
            loss_reported,
        ),
        NeverConverged=(
            "Inference says that it has not converged, and miscounts its steps.",
            lambda q: replace(q.ask(), converged=False, steps=10**9),
        ),
        NotANumber=(
            "One sample's error is not a number.",
            lambda q: replace(reached := q.ask(), energies=reached.energies * np.nan),
        ),
    ),
    *faults(Part.ENERGY_HESSIAN, "loss_hessian", "energy_hessian")(
        HalvedLastBlock=("The last diagonal block of the Hessian is halved.", last_block_halved),
        WrongBlock=(
            "The Hessian is symmetrised by copying a block where its transpose belongs.",
            block_copied,
        ),
        GaussNewton=(
            "The Hessians are Gauss-Newton matrices: no negative curvature.",
            positive_part,
        ),
    ),
    *faults(Part.LOSS_GRADIENTS, "loss_gradients", "energy_gradients")(
        BiasedGradients=(
            "Every weight gradient carries a small constant.",
            lambda q: [gradient + 1e-2 for gradient in q.ask()],
        ),
    ),
    *faults(Part.LOSS_GRADIENTS, "loss_gradients")(
        ForgottenFactor=(
            "Gradients of the loss are not averaged, and so seven times too large.",
            lambda q: [7 * gradient for gradient in q.ask()],
        ),
    ),
    *faults(Part.ENERGY_GRADIENTS, "energy_gradients")(
        WrongShape=("Gradients come transposed.", lambda q: [g.T for g in q.ask()]),
    ),
)
