r"""The landscape that inference descends in non-linear networks, exactly (§2.3, §3).

With ``J_l = ∂f_l/∂z`` at ``z_{l-1}``, moving the hidden activities by ``v`` moves the errors by
``δe_l = v_l - J_l v_{l-1}``, where ``v_0 = 0`` and ``v_L = 0``, and so the gradient by

.. math::
    (H v)_l = δe_l - J_{l+1}^T (π\, δe)_{l+1} - (δJ_{l+1})^T (π e)_{l+1} .

Gauss-Newton leaves out the last term, which makes ``H`` indefinite where errors are large.

Layer by layer, moving the input of layer ``l`` by ``δz`` (and its parameters by ``V_l``, which
Hessians in the parameters ask for), to first order,

.. math::
    δu = φ_{in}' δz, \qquad δa = A\, δu + V u, \qquad δf = \mathrm{pool}(φ_{out}' δa),

and what it pulls back, with the force ``g`` on its output moving by ``δg``,

.. math::
    q = φ_{out}' \, \mathrm{unpool}(g), \quad δq = φ_{out}' \, \mathrm{unpool}(δg)
        + φ_{out}'' δa \, \mathrm{unpool}(g), \quad
    δp = φ_{in}' (A^T δq + V^T q) + φ_{in}'' δz \, A^T q .

Of one sample, in dense layers, ``H`` is a block tridiagonal matrix. With the slopes ``s`` and
curvatures ``c`` of what comes before and after ``A_{l+1}``,

.. math::
    H_{l,l} = I + s_{in} A^T (s_{out}^2 π - c_{out} π e) A s_{in} - c_{in} A^T s_{out} π e, \qquad
    H_{l+1,l} = - s_{out} A s_{in} .
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float
from scipy.linalg import LinAlgError, solve_triangular

from pcbench.theory.arrays import Batch, extreme_eigenvalue
from pcbench.theory.nonlinear.activations import activate, activation_curvature, activation_slope
from pcbench.theory.nonlinear.layered import (
    Layered,
    Matrix,
    Precision,
    Vector,
    pool_with,
    potential,
    pull_back,
    pull_back_to_potential,
    unpool,
    weigh,
    weighted_errors,
)

_solve_lower = partial(solve_triangular, lower=True, check_finite=False)

# Up to this many hidden units a dense eigensolver is as fast as an iteration, and has no tolerance.
_DENSE_UNITS = 300
# The iteration's relative accuracy. Error bounds divide by what it returns, so it is subtracted.
_LANCZOS_ACCURACY = 1e-2


def slopes_moved(
    network: Layered,
    activities: Sequence[Batch],
    direction: Sequence[Batch],
    precision: Precision | None = None,
    along: Layered | None = None,
) -> tuple[list[Batch], list[Batch]]:
    """Return how ``∂(N𝓕)/∂z`` of the hidden layers and all ``(π e)_l`` move, to first order.

    With the hidden activities by the direction ``v_1 … v_{L-1}``: the former is ``∂²(N𝓕)/∂z²`` at
    ``z_0 … z_L`` times that, sample by sample. And, if given, with the parameters by those of
    ``along``, a network whose layers are ``V_l``. Where convolutions pool, maxima stay where they
    are; kinks count as straight.
    """
    forces = weighted_errors(network, activities, precision)
    inputs = [np.zeros_like(activities[0]), *direction]
    outputs = [*direction, np.zeros_like(forces[-1])]
    pushed = [
        output_moved(network, l, z, dz, along)
        for l, (z, dz) in enumerate(zip(activities, inputs, strict=False), start=1)
    ]
    dg = [moved - push for moved, push in zip(outputs, pushed, strict=True)]
    dg[-1] = weigh(dg[-1], precision)[1]
    slopes = []
    for l in range(1, network.depth):
        above = (l + 1, activities[l], forces[l], inputs[l])
        turned = force_moved(network, *above, dg[l], along)
        slopes.append(dg[l - 1] - pull_moved(network, *above, turned, along))
    return slopes, dg


def least_curvatures(
    network: Layered, activities: Sequence[Batch], precision: Precision | None = None
) -> Float[np.ndarray, " N"]:
    """``λ_min`` of the Hessian of each sample, or a bound from below; 1 without hidden layers."""
    return _extreme_curvatures(network, activities, precision, least=True)


def largest_curvatures(
    network: Layered, activities: Sequence[Batch], precision: Precision | None = None
) -> Float[np.ndarray, " N"]:
    """``λ_max`` of the Hessian of each sample, or a bound from above; 1 without hidden layers."""
    return _extreme_curvatures(network, activities, precision, least=False)


def error_curvatures(
    network: Layered, activities: Sequence[Batch], precision: Precision | None = None
) -> Float[np.ndarray, " N"]:
    """``λ_max(I + √Π Σ_l K_l K_lᵀ √Π)`` of each sample, with ``K_l = ∂f_L/∂z_l``.

    The largest curvature of ``N𝓕`` in the prediction errors, but for how layers bend.
    """
    outputs = activities[-1].shape[1]
    weights = np.ones_like(activities[-1]) if precision is None else precision
    most = np.ones(len(activities[0]))
    for n, weight in enumerate(np.broadcast_to(weights, activities[-1].shape)):
        covariance, reaching = np.eye(outputs), np.diag(np.sqrt(weight))
        for l in range(network.depth, 1, -1):
            below = np.repeat(activities[l - 1][n : n + 1], outputs, axis=0)
            reaching = pull_back(network, l, below, reaching)
            covariance = covariance + reaching @ reaching.T
        most[n] = np.linalg.eigvalsh(covariance)[-1]
    return most


def _potential_moved(network: Layered, l: int, z: Batch, dz: Batch, along: Layered | None) -> Batch:
    """``δa``."""
    before, _ = network.activations(l)
    moved = network.linear(l).apply(activation_slope(before, z) * dz)
    return moved if along is None else moved + potential(along, l, z)


def output_moved(
    network: Layered, l: int, z: Batch, dz: Batch, along: Layered | None = None
) -> Batch:
    """``δf``."""
    _, after = network.activations(l)
    a = potential(network, l, z)
    moved = activation_slope(after, a) * _potential_moved(network, l, z, dz, along)
    return pool_with(network, l, activate(after, a), moved)


def force_moved(
    network: Layered, l: int, z: Batch, g: Batch, dz: Batch, dg: Batch, along: Layered | None = None
) -> Batch:
    """``δq``."""
    _, after = network.activations(l)
    a = potential(network, l, z)
    value = activate(after, a)
    bent = activation_curvature(after, a) * unpool(network, l, value, g)
    straight = activation_slope(after, a) * unpool(network, l, value, dg)
    moved: Batch = straight + bent * _potential_moved(network, l, z, dz, along)
    return moved


def pull_moved(
    network: Layered, l: int, z: Batch, g: Batch, dz: Batch, dq: Batch, along: Layered | None = None
) -> Batch:
    """``δp``."""
    before, _ = network.activations(l)
    q = pull_back_to_potential(network, l, z, g)
    pulled = network.linear(l).pull_back(dq)
    if along is not None:
        pulled = pulled + along.linear(l).pull_back(q)
    moved: Batch = activation_slope(before, z) * pulled
    if before != "identity":
        moved += activation_curvature(before, z) * dz * network.linear(l).pull_back(q)
    return moved


def _extreme_curvatures(
    network: Layered, activities: Sequence[Batch], precision: Precision | None, *, least: bool
) -> Float[np.ndarray, " N"]:
    samples = len(activities[0])
    if network.depth == 1:
        return np.ones(samples)
    if precision is not None:
        precision = np.broadcast_to(np.asarray(precision, np.float64), activities[-1].shape)
    extremes = np.empty(samples)
    for n in range(samples):
        sample = [z[n : n + 1] for z in activities]
        own = None if precision is None else precision[n : n + 1]
        extremes[n] = _extreme_curvature(network, sample, own, least)
    return extremes


def _extreme_curvature(
    network: Layered, sample: Sequence[Batch], precision: Precision | None, least: bool
) -> float:
    size = sum(z.shape[1] for z in sample[1:-1])
    if size <= _DENSE_UNITS:
        dense = hessian_rows(network, sample, np.eye(size), precision)
        return float(np.linalg.eigvalsh(dense)[0 if least else -1])
    if least and not network.images:
        blocks = sample_hessian(network, sample, precision)
        # A row has three blocks, so ‖H‖ is at most three times the largest norm of a block. Where
        # its rounding hides whether the least eigenvalue is positive, a shift by that rounding
        # bounds it; iteration would need minutes to tell it from others of that size.
        largest = max(np.linalg.norm(block) for row in blocks for block in row)
        for shift in (0.0, 3 * size * np.finfo(float).eps * float(largest)):
            try:
                return _least_of_blocks(*blocks, shift) - 2 * shift
            except LinAlgError:
                continue  # the least is negative; beyond rounding, it is found by iteration
    found = extreme_eigenvalue(
        lambda v: hessian_rows(network, sample, v.reshape(1, -1), precision)[0],
        size,
        "SA" if least else "LA",
        accuracy=_LANCZOS_ACCURACY,
        basis=60,  # least eigenvalues crowd together: a wide basis needs far fewer restarts
    )
    margin = _LANCZOS_ACCURACY * abs(found)
    return found - margin if least else found + margin


def hessian_rows(
    network: Layered,
    sample: Sequence[Batch],
    rows: Float[np.ndarray, "_rows n_hidden"],
    precision: Precision | None,
) -> Float[np.ndarray, "_rows n_hidden"]:
    """Multiply every row by the Hessian of one sample."""
    cuts = np.cumsum([z.shape[1] for z in sample[1:-1]])[:-1]
    repeated = [np.repeat(z, len(rows), axis=0) for z in sample]
    blocks = np.split(rows, cuts, axis=1)
    return np.concatenate(slopes_moved(network, repeated, blocks, precision)[0], axis=1)


def sample_hessian(
    network: Layered, sample: Sequence[Batch], precision: Precision | None = None
) -> tuple[list[Matrix], list[Matrix]]:
    """``H`` of one sample in a dense network: ``H_{l,l}``, and ``H_{l+1,l}`` but for the last."""
    forces = weighted_errors(network, sample, precision)
    counted = weigh(np.ones_like(forces[-1]), precision)[1]
    diagonal, below = [], []
    for l in range(1, network.depth):
        z, force, weight = sample[l], forces[l], network.weights[l]
        before, after = network.activations(l + 1)
        a = potential(network, l + 1, z)
        outer, driven = activation_slope(after, a), weight * activation_slope(before, z)
        pi = counted if l + 1 == network.depth else 1.0
        middle = outer**2 * pi - activation_curvature(after, a) * force
        straight = 1 - activation_curvature(before, z) * ((outer * force) @ weight)
        diagonal.append(driven.T @ (middle.T * driven) + np.diag(straight[0]))
        below.append(-outer.T * driven)
    return diagonal, below[:-1]


def _least_of_blocks(diagonal: Sequence[Matrix], below: Sequence[Matrix], shift: float) -> float:
    """``λ_min`` of ``H + shift I``, from below: the inverse's largest eigenvalue stands alone.

    By block Cholesky: ``C_l C_lᵀ = H_{l,l} - G_{l-1} G_{l-1}ᵀ``, ``G_l = H_{l+1,l} C_l⁻ᵀ``. Raises
    a ``LinAlgError`` if the matrix is not positive definite.
    """
    diagonal = [block + shift * np.eye(len(block)) for block in diagonal]
    factors, couplings, rest = [], [], diagonal[0]
    for block, after in zip(below, diagonal[1:], strict=True):
        factors.append(np.linalg.cholesky(rest))
        couplings.append(_solve_lower(factors[-1], block.T).T)
        rest = after - couplings[-1] @ couplings[-1].T
    factors.append(np.linalg.cholesky(rest))
    cuts = np.cumsum([len(block) for block in diagonal])[:-1]

    def solve(vector: Vector) -> Vector:
        parts = np.split(vector, cuts)
        for l, factor in enumerate(factors):
            parts[l] = _solve_lower(factor, parts[l])
            if l < len(couplings):
                parts[l + 1] = parts[l + 1] - couplings[l] @ parts[l]
        for l in reversed(range(len(factors))):
            if l < len(couplings):
                parts[l] = parts[l] - couplings[l].T @ parts[l + 1]
            parts[l] = _solve_lower(factors[l], parts[l], trans=1)
        return np.concatenate(parts)

    size = sum(map(len, diagonal))
    # The inverse's largest stands alone: a narrow basis is enough.
    top = extreme_eigenvalue(solve, size, "LA", accuracy=_LANCZOS_ACCURACY, basis=10)
    return (1 - _LANCZOS_ACCURACY) / top
