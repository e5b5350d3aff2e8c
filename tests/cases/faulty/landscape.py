"""Backends whose mistakes show in a landscape alone, around the correct one."""

from __future__ import annotations

import numpy as np

from pcbench.audit import Part
from pcbench.audit.tables import faults
from pcbench.backends.torch import TorchBackend
from pcbench.contract import Backend, Capability
from tests.cases.faulty.backends import FAULTS as LINEAR_FAULTS
from tests.cases.faulty.backends import FEW_STEPS
from tests.cases.faulty.catalogued import as_backends

ONE_BY_ONE = TorchBackend.capabilities - {Capability.REPLICAS}


def alone(backend: type[Backend]) -> type[Backend]:
    """Return the backend without replicas, which few of the mistakes were made for."""
    return type(backend.__name__, (backend,), {"capabilities": ONE_BY_ONE})


LANDSCAPE_FAULTS: dict[str, type[Backend]] = {
    name: alone(backend)
    for name, backend in (
        LINEAR_FAULTS
        | as_backends("ProductsTooShort", "DependsOnCompany", "LargestBatchRemembered")
    ).items()
}
NONLINEAR_FAULTS: dict[str, type[Backend]] = as_backends(
    "ReplicasInReverse",
    *faults(Part.INFERENCE, "infer")(
        FewSteps=(
            "Inference is a few steps of gradient descent, whatever was asked for.",
            lambda q: q.ask(settings=FEW_STEPS),
        ),
    ),
    *faults(Part.LOSS_GRADIENTS, "loss_gradients")(
        TiltedGradients=(
            "Gradients of the loss carry a small constant.",
            lambda q: [gradient + 1e-2 for gradient in q.ask()],
        ),
    ),
    *faults(Part.ENERGY_GRADIENTS, "energy_gradients")(
        TiltedForces=(
            "Gradients of the energy carry a small constant.",
            lambda q: [gradient + 1e-2 for gradient in q.ask()],
        ),
    ),
    *faults(Part.ENERGY_HESSIAN, "loss_hessian", "energy_hessian")(
        ScaledHessians=(
            "Hessians are one part in a thousand too large.",
            lambda q: q.multiplied(lambda product, vectors: 1.001 * product(vectors)),
        ),
    ),
    *faults(Part.ENERGY_HESSIAN, "energy_hessian")(
        FrozenEquilibrium=(
            "The energy's Hessian forgets that activities move with the parameters.",
            lambda q: q.also("loss_hessian", x=q.activities[0], y=q.activities[-1]),
        ),
    ),
    *faults(Part.LOSS, "loss")(
        OneLossForAll=("Replicas share one loss.", lambda q: np.mean(q.ask())),
        BoxedLoss=("The loss comes with an axis of its own.", lambda q: q.ask()[..., None]),
    ),
)
