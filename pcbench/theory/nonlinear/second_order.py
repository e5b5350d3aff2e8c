r"""An equilibrium of any smooth network, and Hessians at it, without a backend (§3).

The energy of a sample is descended by Newton's method in its hidden activities, with the exact
Hessian ``H``. Where that is not positive definite, its eigenvalues are taken by size, which still
leads down; a step is halved until it goes down by a part of what its slope promises (Armijo). What
is found is a minimum near the feedforward activities, not necessarily the lowest one.

**Hessians of loss and equilibrated energy, one product at a time (§3.1).** With ``q``,
``δq`` and ``δu`` of ``curvature.py``, for parameters that move by ``V_l``, the gradient
``-q uᵀ`` of a layer's parameters moves by ``-(δq uᵀ + q δuᵀ)``. For the energy, ``g`` is the
weighted error and ``δz`` solves ``𝓕_zz δz = -𝓕_zθ V``; for the loss, activities are those of a
forward pass, and forces what backpropagation makes of ``π (y - ŷ)``. Pooling keeps its winners, and
kinks count as straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse.linalg import LinearOperator, cg

from pcbench.theory.arrays import Batch, Inputs, Targets
from pcbench.theory.nonlinear.activations import activate, activation_slope
from pcbench.theory.nonlinear.curvature import (
    activity_hessian_product,
    force_moved,
    hessian_rows,
    output_moved,
    pull_moved,
    slopes_moved,
)
from pcbench.theory.nonlinear.layered import (
    Layered,
    Precision,
    activity_residuals,
    backpropagated,
    bias_gradient,
    feedforward,
    layered_energies,
    pull_back_to_potential,
    weigh,
    weighted_errors,
)

Units = Float[np.ndarray, " n_hidden"]

_MAX_STEPS = 200
_PROMISED, _SMALLEST_STEP = 1e-4, 2.0**-40
# Roundings of an energy that a rise is put down to.
_ROUNDINGS = 4.0
# Curvatures below this part of the largest count as this much.
_FLATTEST = 1e-8


class NoEquilibriumError(ArithmeticError):
    """Newton's method ended where forces do not vanish, or at no minimum."""


def relaxed_activities(
    network: Layered,
    x: Inputs,
    y: Targets,
    precision: Precision | None = None,
    start: Sequence[Batch] | None = None,
    residual: float = 1e-11,
) -> list[Batch]:
    """``z_0 … z_L`` at an equilibrium, the last the target, of a small network without kinks.

    From the feedforward activities, or the ``start``, to a ``residual`` ``‖∂(N𝓕)/∂z‖`` of each
    sample relative to the size of its activities.

    Raises
    ------
    NoEquilibriumError
        If Newton's method does not arrive, or not at a minimum.
    """
    begin = feedforward(network, x) if start is None else list(start)
    widths = [z.shape[1] for z in begin[1:-1]]
    if not widths:
        return [x, y]
    cuts = np.cumsum(widths)[:-1]
    hidden = np.concatenate(begin[1:-1], axis=1)
    weights = None if precision is None else np.broadcast_to(np.asarray(precision), y.shape)
    for n in range(len(x)):
        own = None if weights is None else weights[n : n + 1]
        inputs, targets = x[n : n + 1], y[n : n + 1]
        hidden[n] = _relaxed(network, inputs, targets, own, hidden[n], cuts, residual)
    return [x, *np.split(hidden, cuts, axis=1), y]


def _relaxed(
    network: Layered,
    x: Batch,
    y: Batch,
    precision: Precision | None,
    z: Units,
    cuts: Int[np.ndarray, "..."],
    residual: float,
) -> Units:
    """Descend from the hidden activities of one sample."""

    def at(z: Units) -> list[Batch]:
        return [x, *np.split(z[None], cuts, axis=1), y]

    def energy(z: Units) -> float:
        return float(layered_energies(network, at(z), precision).sum())

    def downhill(z: Units, step: Units, slope: float) -> Units:
        before, length = energy(z), 1.0
        while length > _SMALLEST_STEP:
            moved: Units = z + length * step
            # Near the end the decrease is less than the energy's last digit: full steps then.
            noise = _ROUNDINGS * float(np.finfo(float).eps) * (1 + before)
            if energy(moved) <= before + _PROMISED * length * slope + noise:
                return moved
            length /= 2
        raise NoEquilibriumError("Newton's method found no way down")

    wanted = residual * (1 + float(np.linalg.norm(z)))
    for _ in range(_MAX_STEPS):
        force = np.concatenate(activity_residuals(network, at(z), precision), axis=1)[0]
        hessian = hessian_rows(network, at(z), np.eye(len(z)), precision)
        values, vectors = np.linalg.eigh(hessian)
        sizes = np.maximum(np.abs(values), _FLATTEST * np.max(np.abs(values)))
        step = -vectors @ ((vectors.T @ force) / sizes)
        if np.linalg.norm(force) <= wanted and values[0] > 0:
            ended: Units = z + step  # converges quadratically: what it leaves is rounding
            return ended
        z = downhill(z, step, float(force @ step))
    raise NoEquilibriumError("Newton's method did not find a minimum of the energy")


Parameters = Sequence[Float[np.ndarray, "..."]]

# The inner system is solved until rounding stops it: this is near what float64 allows.
_SOLVED = 1e-13


@dataclass(frozen=True, slots=True)
class HessianProduct:
    """A Hessian times a direction."""

    product: list[Float[np.ndarray, "..."]]  # like the parameters: weights, then biases
    residual: float  # ‖𝓕_zz δz + 𝓕_zθ V‖ over ‖𝓕_zθ V‖; 0 where nothing was to be solved


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
