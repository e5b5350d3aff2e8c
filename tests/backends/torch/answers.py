"""What a backend answers about a problem, brought to the host."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pcbench.backends.torch import TorchBackend
from pcbench.contract import ExactInference, GradientInference
from pcbench.theory.linear.equilibrium import (
    activity_hessian,
    prediction_errors,
)
from tests.helpers import linear_definitions as definitions
from tests.theory.linear.forces import residual_norm

DTYPES = ("float32", "float64")
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
DEVICES = ("cpu", pytest.param("cuda", marks=on_cuda))
OBJECTIVES = ("loss", "energy")


@dataclass(frozen=True)
class Answer:
    """One batch's answers. Activities end with the output as inference left it."""

    prediction: np.ndarray
    loss: float
    loss_gradients: list[np.ndarray]
    activities: list[np.ndarray]
    energies: np.ndarray
    recomputed: np.ndarray
    gradients: list[np.ndarray]
    steps: int
    residual: float
    converged: bool

    @property
    def energy(self):
        return float(self.energies.sum(axis=-1))

    def true_residual(self, problem):
        """The residual in float64, at the hidden activities as they are."""
        clamped = [*self.activities[:-1], problem.y]
        errors = prediction_errors(problem.weights, clamped)
        return residual_norm(problem.weights, errors)


def stage(problem, dtype="float64", device="cpu"):
    """Return a backend, the model, and the batch on the device."""
    backend = TorchBackend(device, dtype)
    model = backend.build(problem.network, problem.weights)
    return backend, model, backend.to_device(problem.x), backend.to_device(problem.y)


def ask(problem, dtype="float64", settings=None, device="cpu"):
    """Ask everything but Hessians."""
    backend, model, x, y = stage(problem, dtype, device)
    reached = model.infer(x, y, settings or ExactInference())
    clamped = [*reached.activities[:-1], y]
    host = backend.to_host
    return Answer(
        prediction=host(model.predict(x)),
        loss=host(model.loss(x, y)),
        loss_gradients=[host(g) for g in model.loss_gradients(x, y)],
        activities=[host(z) for z in reached.activities],
        energies=host(reached.energies),
        recomputed=host(model.energies(clamped)),
        gradients=[host(g) for g in model.energy_gradients(clamped)],
        steps=reached.steps,
        residual=host(reached.residual),
        converged=reached.converged,
    )


def dense_answer(problem, dtype):
    """Another honest way: form H_z in that dtype and solve with it densely."""
    weights = definitions.tensors(problem.weights, getattr(torch, dtype))
    x, y = definitions.tensors([problem.x, problem.y], getattr(torch, dtype))
    activities = definitions.equilibrium(weights, x, y)
    return Answer(
        prediction=definitions.forward(weights, x)[-1].double().numpy(),
        loss=float(definitions.loss(weights, x, y)),
        loss_gradients=[],
        activities=[z.double().numpy() for z in activities],
        energies=definitions.layer_energies(weights, activities).double().numpy(),
        recomputed=None,
        gradients=[
            g.double().numpy()
            for g in definitions.gradients(lambda w: definitions.energy(w, activities), weights)
        ],
        steps=0,
        residual=0.0,
        converged=True,
    )


def hessian(problem, objective, dtype="float64", device="cpu"):
    """Ask for a whole Hessian, a row a product."""
    backend, model, x, y = stage(problem, dtype, device)
    rows = backend.to_device(np.eye(problem.network.n_parameters))
    return backend.to_host(hessian_of(model, objective, x, y).product(rows))


def hessian_of(model, objective, x, y):
    """The Hessian of loss, or of energy at the equilibrium of exact inference."""
    if objective == "loss":
        return model.loss_hessian(x, y)
    return model.energy_hessian([*model.infer(x, y, ExactInference()).activities[:-1], y])


def steady(problem, **settings):
    """Gradient inference with a step that is sure to converge."""
    if len(problem.weights) == 1:
        return GradientInference(**settings)
    largest = np.linalg.eigvalsh(activity_hessian(problem.weights))[-1]
    return GradientInference(step=1 / largest, **settings)
