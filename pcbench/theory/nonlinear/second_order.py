r"""The Hessians of loss and equilibrated energy of any network, one product at a time (§3.1).

Moving the parameters of layer ``l`` by ``V_l`` and its input by ``δz``, to first order,

.. math::
    δu = φ_{in}' δz, \qquad δa = A\, δu + V u, \qquad δf = \mathrm{pool}(φ_{out}' δa),

and what it pulls back, with the force ``g`` on its output moving by ``δg``,

.. math::
    q = φ_{out}' \, \mathrm{unpool}(g), \quad δq = φ_{out}' \, \mathrm{unpool}(δg)
        + φ_{out}'' δa \, \mathrm{unpool}(g), \quad
    δp = φ_{in}' (A^T δq + V^T q) + φ_{in}'' δz \, A^T q .

The gradient ``-q uᵀ`` of the layer's parameters so moves by ``-(δq uᵀ + q δuᵀ)``. For the energy,
``g`` is the weighted error and ``δz`` solves ``𝓕_zz δz = -𝓕_zθ V``; for the loss, activities are
those of a forward pass, and forces what backpropagation makes of ``π (y - ŷ)``. Pooling keeps its
winners, and kinks count as straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, cg

from pcbench.theory.nonlinear.curvature import activation_curvature, activity_hessian_product
from pcbench.theory.nonlinear.layered import (
    Batch,
    Layered,
    Precision,
    activate,
    activation_slope,
    affine,
    affine_transposed,
    bias_gradient,
    feedforward,
    linear,
    pool_with,
    pull_back,
    unpool,
    weigh,
    weight_gradient,
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
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    direction: Parameters,
    precision: Precision | None = None,
) -> HessianProduct:
    """``∇²𝓛 V``, by differentiating backpropagation along ``V``."""
    along, activities = _along(network, direction), feedforward(network, x)
    forces = [weigh(y - activities[-1], precision)[1]]
    for l in range(network.depth, 1, -1):
        forces.insert(0, pull_back(network, l, activities[l - 1], forces[0]))
    moved = [np.zeros_like(x)]
    for l in range(1, network.depth + 1):
        moved.append(_output_moved(network, along, l, activities[l - 1], moved[-1]))
    dg = weigh(-moved[-1], precision)[1]
    turned: list[Batch] = []
    for l in range(network.depth, 0, -1):
        z, g, dz = activities[l - 1], forces[l - 1], moved[l - 1]
        turned.insert(0, _force_moved(network, along, l, z, g, dz, dg))
        dg = _pulled_moved(network, along, l, z, g, dz, turned[0])
    return HessianProduct(_gradients(network, activities, forces, moved, turned), 0.0)


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

    def moves(dz: Sequence[Batch]) -> tuple[list[Batch], list[Batch]]:
        """Return how ``∂(N𝓕)/∂z`` and the forces on the potentials move."""
        inputs = [np.zeros_like(activities[0]), *dz]
        outputs = [*dz, np.zeros_like(forces[-1])]
        dg = [
            outputs[l - 1] - _output_moved(network, along, l, activities[l - 1], inputs[l - 1])
            for l in range(1, network.depth + 1)
        ]
        dg[-1] = weigh(dg[-1], precision)[1]
        at = [(l, activities[l - 1], forces[l - 1], inputs[l - 1]) for l in range(1, len(dg) + 1)]
        dq = [
            _force_moved(network, along, *place, move) for place, move in zip(at, dg, strict=True)
        ]
        dp = [
            _pulled_moved(network, along, *place, turned)
            for place, turned in zip(at, dq, strict=True)
        ]
        return [g - p for g, p in zip(dg, dp[1:], strict=False)], dq

    still = [np.zeros_like(z) for z in activities[1:-1]]
    right, _ = moves(still)
    dz, residual = _solve(network, activities, [-part for part in right], precision)
    _, turned = moves(dz)
    moved = [np.zeros_like(activities[0]), *dz]
    return HessianProduct(_gradients(network, activities, forces, moved, turned), residual)


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


def _potential(network: Layered, l: int, z: Batch) -> Batch:
    before, _ = network.activations(l)
    return affine(network, l, activate(before, z))


def _potential_moved(network: Layered, along: Layered, l: int, z: Batch, dz: Batch) -> Batch:
    """``δa``."""
    before, _ = network.activations(l)
    pushed = linear(network, l, activation_slope(before, z) * dz)
    moved: Batch = pushed + affine(along, l, activate(before, z))
    return moved


def _output_moved(network: Layered, along: Layered, l: int, z: Batch, dz: Batch) -> Batch:
    """``δf``."""
    _, after = network.activations(l)
    potential = _potential(network, l, z)
    moved = activation_slope(after, potential) * _potential_moved(network, along, l, z, dz)
    return pool_with(network, l, activate(after, potential), moved)


def _force(network: Layered, l: int, z: Batch, g: Batch) -> Batch:
    """``q``."""
    _, after = network.activations(l)
    potential = _potential(network, l, z)
    force: Batch = activation_slope(after, potential) * unpool(
        network, l, activate(after, potential), g
    )
    return force


def _force_moved(
    network: Layered, along: Layered, l: int, z: Batch, g: Batch, dz: Batch, dg: Batch
) -> Batch:
    """``δq``."""
    _, after = network.activations(l)
    potential = _potential(network, l, z)
    value = activate(after, potential)
    bent = activation_curvature(after, potential) * unpool(network, l, value, g)
    straight = activation_slope(after, potential) * unpool(network, l, value, dg)
    moved: Batch = straight + bent * _potential_moved(network, along, l, z, dz)
    return moved


def _pulled_moved(
    network: Layered, along: Layered, l: int, z: Batch, g: Batch, dz: Batch, dq: Batch
) -> Batch:
    """``δp``."""
    before, _ = network.activations(l)
    q = _force(network, l, z, g)
    pulled = affine_transposed(network, l, dq) + affine_transposed(along, l, q)
    bent = activation_curvature(before, z) * dz * affine_transposed(network, l, q)
    moved: Batch = activation_slope(before, z) * pulled + bent
    return moved


def _gradients(
    network: Layered,
    activities: Sequence[Batch],
    forces: Sequence[Batch],
    moved: Sequence[Batch],
    turned: Sequence[Batch],
) -> list[Float[np.ndarray, "..."]]:
    """``-(1/N) Σ_n (δq uᵀ + q δuᵀ)``, and ``-(1/N) Σ_n δq`` of biases."""
    n, by_weights, by_biases = len(activities[0]), [], []
    for l in range(1, network.depth + 1):
        before, _ = network.activations(l)
        z, dz, dq = activities[l - 1], moved[l - 1], turned[l - 1]
        q = _force(network, l, z, forces[l - 1])
        by_weights.append(
            -(
                weight_gradient(network, l, activate(before, z), dq)
                + weight_gradient(network, l, activation_slope(before, z) * dz, q)
            )
            / n
        )
        bias = bias_gradient(network, l, dq)
        if bias is not None:
            by_biases.append(-bias / n)
    return by_weights + by_biases
