r"""The Hessians of loss and equilibrated energy of any network, one product at a time (§3.1).

With ``q``, ``δq`` and ``δu`` of ``curvature.py``, for parameters that move by ``V_l``, the gradient
``-q uᵀ`` of a layer's parameters moves by ``-(δq uᵀ + q δuᵀ)``. For the energy, ``g`` is the
weighted error and ``δz`` solves ``𝓕_zz δz = -𝓕_zθ V``; for the loss, activities are those of a
forward pass, and forces what backpropagation makes of ``π (y - ŷ)``. Pooling keeps its winners, and
kinks count as straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, cg

from pcbench.theory.arrays import Inputs, Targets
from pcbench.theory.nonlinear.curvature import (
    activity_hessian_product,
    force_moved,
    output_moved,
    pull_moved,
    slopes_moved,
)
from pcbench.theory.nonlinear.layered import (
    Batch,
    Layered,
    Precision,
    activate,
    activation_slope,
    backpropagated,
    bias_gradient,
    feedforward,
    pull_back_to_potential,
    weigh,
    weighted_errors,
)

Parameters = Sequence[Float[np.ndarray, "..."]]

# The inner system is solved until rounding stops it: this is near what float64 allows.
_SOLVED = 1e-13


@dataclass(frozen=True, slots=True)
class HessianProduct:
    """A Hessian times a direction.

    Attributes
    ----------
    product
        Like the parameters: weights, then biases.
    residual
        ``‖𝓕_zz δz + 𝓕_zθ V‖`` relative to ``‖𝓕_zθ V‖``; 0 where nothing was to be solved.
    """

    product: list[Float[np.ndarray, "..."]]
    residual: float


def loss_hessian_product(
    network: Layered,
    x: Inputs,
    y: Targets,
    direction: Parameters,
    precision: Precision | None = None,
) -> HessianProduct:
    """``∇²𝓛 V``, by differentiating backpropagation along ``V``."""
    along, activities = _along(network, direction), feedforward(network, x)
    forces = backpropagated(network, activities, weigh(y - activities[-1], precision)[1])
    moved = [np.zeros_like(x)]
    for l in range(1, network.depth + 1):
        moved.append(output_moved(network, l, activities[l - 1], moved[-1], along))
    dg = [weigh(-moved[-1], precision)[1]]
    for l in range(network.depth, 1, -1):
        at = (l, activities[l - 1], forces[l - 1], moved[l - 1])
        turned = force_moved(network, *at, dg[0], along)
        dg.insert(0, pull_moved(network, *at, turned, along))
    return HessianProduct(_gradients(network, along, activities, forces, moved, dg), 0.0)


def energy_hessian_product(
    network: Layered,
    activities: Sequence[Batch],
    direction: Parameters,
    precision: Precision | None = None,
) -> HessianProduct:
    """``∇²𝓕* V`` at the equilibrium ``activities``, ``z_0 … z_L``, by the implicit function.

    Where they are not quite at equilibrium, the product is that of the implicit formula there.
    """
    along, forces = _along(network, direction), weighted_errors(network, activities, precision)
    still = [np.zeros_like(z) for z in activities[1:-1]]
    right, _ = slopes_moved(network, activities, still, precision, along)
    dz, residual = _solve(network, activities, [-part for part in right], precision)
    _, dg = slopes_moved(network, activities, dz, precision, along)
    moved = [np.zeros_like(activities[0]), *dz]
    return HessianProduct(_gradients(network, along, activities, forces, moved, dg), residual)


def _along(network: Layered, direction: Parameters) -> Layered:
    """Return the network whose layers are ``V_l``."""
    depth = network.depth
    biases = None if network.biases is None else list(direction[depth:])
    return replace(network, weights=list(direction[:depth]), biases=biases)


def _solve(
    network: Layered,
    activities: Sequence[Batch],
    right: Sequence[Batch],
    precision: Precision | None,
) -> tuple[list[Batch], float]:
    """``𝓕_zz⁻¹`` times the right-hand side, of all samples, and the relative residual."""
    whole = np.concatenate([part.ravel() for part in right]) if right else np.empty(0)
    if not whole.any():
        return [np.zeros_like(part) for part in right], 0.0
    shapes = [part.shape for part in right]
    cuts = np.cumsum([part.size for part in right])[:-1]

    def split(flat: Float[np.ndarray, " hidden"]) -> list[Batch]:
        pairs = zip(np.split(flat, cuts), shapes, strict=True)
        return [part.reshape(shape) for part, shape in pairs]

    def product(flat: Float[np.ndarray, " hidden"]) -> Float[np.ndarray, " hidden"]:
        image = activity_hessian_product(network, activities, split(flat.ravel()), precision)
        return np.concatenate([part.ravel() for part in image])

    operator = LinearOperator((whole.size,) * 2, matvec=product, dtype=np.float64)
    solution, _ = cg(operator, whole, rtol=_SOLVED, atol=0.0, maxiter=10 * whole.size)
    left = np.linalg.norm(whole - product(solution)) / np.linalg.norm(whole)
    return split(solution), float(left)


def _gradients(
    network: Layered,
    along: Layered,
    activities: Sequence[Batch],
    forces: Sequence[Batch],
    moved: Sequence[Batch],
    forces_moved: Sequence[Batch],
) -> list[Float[np.ndarray, "..."]]:
    """``-(1/N) Σ_n (δq uᵀ + q δuᵀ)``, and ``-(1/N) Σ_n δq`` of biases."""
    n, by_weights, by_biases = len(activities[0]), [], []
    for l in range(1, network.depth + 1):
        before, _ = network.activations(l)
        z, g, dz = activities[l - 1], forces[l - 1], moved[l - 1]
        q = pull_back_to_potential(network, l, z, g)
        dq = force_moved(network, l, z, g, dz, forces_moved[l - 1], along)
        turned = network.linear(l).gradient(activate(before, z), dq)
        by_weights.append(
            -(turned + network.linear(l).gradient(activation_slope(before, z) * dz, q)) / n
        )
        bias = bias_gradient(network, l, dq)
        if bias is not None:
            by_biases.append(-bias / n)
    return by_weights + by_biases
