"""Whether a point is critical: all gradients of loss and of equilibrated energy vanish."""

from __future__ import annotations

from collections.abc import Iterator

from pcbench.checks import Check
from pcbench.contract import Backend, ExactInference, GaussNewtonInference, InferenceSettings
from pcbench.judges.basis import Basis, folded
from pcbench.judges.problem import Problem
from pcbench.networks import NetworkSpec
from pcbench.theory.rounding.bounds import (
    direct_solve_residual,
    unfinished_inference,
    unit_roundoff,
)
from pcbench.theory.rounding.perturbation import equilibrium_rounding


def refuse_sigmoid(name: object) -> object:
    """Say why, where a name that is known would only be called unknown."""
    if name == "sigmoid":
        raise ValueError(
            "the sigmoid is not 0 at 0, so the origin is not a critical point of its network; "
            "use tanh, relu, leaky_relu or silu"
        )
    return name


def saddle_inference(network: NetworkSpec) -> InferenceSettings:
    """Return how the equilibrium is found: exactly where the network is linear.

    At the origin of a non-linear one, feedforward activities are the equilibrium already.
    """
    return ExactInference() if network.is_linear else GaussNewtonInference(residual=1e-8)


@folded
def critical_point_checks(
    backend: Backend[object], problem: Problem, source: str
) -> Iterator[Check]:
    """Check that the gradients of both objectives are zero, layer by layer.

    The tolerance is the rounding of the energy's gradients at equilibrium. It serves the loss too:
    at a point with ``W_L = 0`` the two gradients are the same sums. The energy's activities may
    also come from a direct solution for all of them, which leaves something where the two passes
    keep factors of zero.
    """
    model = backend.build(problem.network, problem.weights)
    x, y = backend.to_device(problem.x), backend.to_device(problem.y)
    reached = model.infer(x, y, saddle_inference(problem.network))
    gradients = {
        "loss": model.loss_gradients(x, y),
        "energy": model.energy_gradients([*reached.activities[:-1], y]),
    }
    u = unit_roundoff(backend.dtype)
    at = problem.weights, problem.x, problem.y
    rounding = equilibrium_rounding(*at, u)
    solved = unfinished_inference(*at, direct_solve_residual(*at, u))
    bounds = {
        "loss": rounding.gradients,
        "energy": [sum(each) for each in zip(rounding.gradients, solved.gradients, strict=True)],
    }
    basis = Basis(source, f"rounding at u = {u:.2g} through this network (theory.md 4)")
    for objective, layers in gradients.items():
        for layer, (gradient, bound) in enumerate(
            zip(layers, bounds[objective], strict=True), start=1
        ):
            name, zero = f"critical point of the {objective}", 0 * problem.weights[layer - 1]
            yield basis.distance(name, backend.to_host(gradient), zero, bound, f"layer {layer}")
