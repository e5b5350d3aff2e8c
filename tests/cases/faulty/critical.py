"""Backends with one mistake each, for points in parallel: their weights have a replica axis."""

import numpy as np

from pcbench.audit import Part
from pcbench.audit.tables import faults
from tests.cases.faulty.catalogued import as_backends


def loss_of_the_ends(q, method="loss"):
    return q.also(method, x=q.activities[0], y=q.activities[-1])


def loss_throughout(q):
    if q.method == "energies":
        loss = loss_of_the_ends(q)
        return np.stack([np.zeros_like(loss), loss], axis=-1)
    return loss_of_the_ends(q, q.method.replace("energy", "loss"))


def cut(product, vectors):
    values, basis = np.linalg.eigh(product(vectors))  # all unit vectors are asked for
    return (basis * values.clip(min=0)[..., None, :]) @ np.swapaxes(basis, -1, -2)


FAULTS = as_backends(
    *faults(Part.ENERGIES, "energies", "energy_gradients", "energy_hessian")(
        LossThroughout=(
            "What is called the energy is the loss: its saddles are not all strict.",
            loss_throughout,
        ),
    ),
    *faults(Part.ENERGY_HESSIAN, "energy_hessian")(
        LossCurvature=(
            "The Hessian is the loss's.",
            lambda q: loss_of_the_ends(q, "loss_hessian"),
        ),
        NoNegativeCurvature=(
            "The Hessian is cut off at zero from below.",
            lambda q: q.multiplied(cut),
        ),
        UnderstatedCurvature=(
            "The Hessian is a fifth too small: a search that it leads arrives all the same.",
            lambda q: q.multiplied(lambda product, vectors: 0.8 * product(vectors)),
        ),
        NoCurvature=(
            "The Hessian is zero, and so no step is ever taken.",
            lambda q: q.multiplied(lambda product, vectors: 0 * vectors),
        ),
    ),
    *faults(Part.ENERGY_GRADIENTS, "energy_gradients")(
        BiasedGradients=(
            "Every gradient carries a small constant.",
            lambda q: [gradient + 1e-3 for gradient in q.ask()],
        ),
    ),
    *faults(Part.ENERGIES, "energies")(
        MissingHalf=("The energies lack the factor of one half.", lambda q: 2 * q.ask()),
    ),
    *faults(Part.LOSS, "loss")(
        MeanOverOutputs=(
            "The loss is averaged over outputs as well.",
            lambda q: q.ask() / q.network.widths[-1],
        ),
    ),
)
