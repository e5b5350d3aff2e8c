r"""The landscape that inference descends in non-linear networks, exactly (§2.3, §3).

With ``J_l = ∂f_l/∂z`` at ``z_{l-1}``, moving the hidden activities by ``v`` moves the errors by
``δe_l = v_l - J_l v_{l-1}``, where ``v_0 = 0`` and ``v_L = 0``, and so the gradient by

.. math::
    (H v)_l = δe_l - J_{l+1}^T (π\, δe)_{l+1} - (δJ_{l+1})^T (π e)_{l+1} .

Gauss-Newton leaves out the last term, which makes ``H`` indefinite where errors are large.

Of one sample, in dense layers, ``H`` is a block tridiagonal matrix. With the slopes ``s`` and
curvatures ``c`` of what comes before and after ``A_{l+1}``,

.. math::
    H_{l,l} = I + s_{in} A^T (s_{out}^2 π - c_{out} π e) A s_{in} - c_{in} A^T s_{out} π e, \qquad
    H_{l+1,l} = - s_{out} A s_{in} .
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.linalg import LinAlgError, solve_triangular
from scipy.special import expit

from pcbench.theory.nonlinear.extremal import extreme_eigenvalue
from pcbench.theory.nonlinear.layered import (
    Activation,
    Batch,
    Layered,
    Matrix,
    Precision,
    Vector,
    activate,
    activation_slope,
    affine,
    affine_transposed,
    linear,
    pool_with,
    pull_back,
    unpool,
    weigh,
    weighted_errors,
)
from pcbench.theory.nonlinear.taylor import Formula

Array = Float[np.ndarray, "..."]

# Up to this many hidden units a dense eigensolver is as fast as an iteration, and has no tolerance.
_DENSE_UNITS = 300
# The iteration's relative accuracy. Error bounds divide by what it returns, so it is subtracted.
_LANCZOS_ACCURACY = 1e-2
# Least eigenvalues crowd together: a wide basis needs far fewer restarts.
_LANCZOS_BASIS = 60
# The inverse's largest stands alone.
_INVERSE_BASIS = 10


def activity_hessian_product(
    network: Layered,
    activities: Sequence[Batch],
    direction: Sequence[Batch],
    precision: Precision | None = None,
) -> list[Batch]:
    """``∂²(N𝓕)/∂z²`` at the activities times a direction, sample by sample.

    Parameters
    ----------
    network
        Where convolutions pool, maxima stay where they are.
    activities
        ``z_0 … z_L``.
    direction
        ``v_1 … v_{L-1}``, one row a sample like the hidden activities.
    precision
        Of the outputs; 1 if not given.

    Returns
    -------
    list of array
        One a hidden layer, like ``direction``. Kinks of an activation count as straight.
    """
    forces = weighted_errors(network, activities, precision)
    moved = [np.zeros_like(activities[0]), *direction, np.zeros_like(forces[-1])]
    errors = [
        moved[l] - _push_forward(network, l, activities[l - 1], moved[l - 1])
        for l in range(1, network.depth + 1)
    ]
    errors[-1] = weigh(errors[-1], precision)[1]
    return [
        errors[l - 1]
        - pull_back(network, l + 1, activities[l], errors[l])
        - _turned(network, l + 1, activities[l], moved[l], forces[l])
        for l in range(1, network.depth)
    ]


def least_curvatures(
    network: Layered, activities: Sequence[Batch], precision: Precision | None = None
) -> Float[np.ndarray, " N"]:
    """``λ_min`` of the Hessian of each sample; where found by iteration, from below.

    A network without hidden layers has no Hessian: 1, the value of decoupled activities.
    """
    return _extreme_curvatures(network, activities, precision, least=True)


def largest_curvatures(
    network: Layered, activities: Sequence[Batch], precision: Precision | None = None
) -> Float[np.ndarray, " N"]:
    """``λ_max`` of the Hessian of each sample; where found by iteration, from above.

    1 without hidden layers.
    """
    return _extreme_curvatures(network, activities, precision, least=False)


def activation_curvature(name: Activation, z: Batch) -> Batch:
    """``φ''(z)``; 0 of what is straight or kinked."""
    match name:
        case Formula():
            return name.curvature(z)
        case "tanh":
            curvature: Batch = -2 * np.tanh(z) * (1 - np.tanh(z) ** 2)
        case "silu":
            curvature = expit(z) * expit(-z) * (2 + z * (expit(-z) - expit(z)))
        case _:
            curvature = np.zeros_like(z)
    return curvature


def _push_forward(network: Layered, l: int, z: Batch, v: Batch) -> Batch:
    """``J_l v``."""
    before, after = network.activations(l)
    potential = affine(network, l, activate(before, z))
    pushed = activation_slope(after, potential) * _potential_moved(network, l, z, v)
    return pool_with(network, l, activate(after, potential), pushed)


def _potential_moved(network: Layered, l: int, z: Batch, v: Batch) -> Batch:
    """What ``z + v`` adds to the potential ``a = A_l φᶦⁿ(z) + b_l``, to first order."""
    before, _ = network.activations(l)
    return linear(network, l, activation_slope(before, z) * v)


def _turned(network: Layered, l: int, z: Batch, v: Batch, e: Batch) -> Batch:
    """``(δJ_l)ᵀ e`` for ``z + v``, to first order.

    The derivative of ``J_lᵀ e = φᶦⁿ'(z) * A_lᵀ (φᵒᵘᵗ'(a) * e)`` by the product rule.
    """
    before, after = network.activations(l)
    potential = affine(network, l, activate(before, z))
    e = unpool(network, l, activate(after, potential), e)
    force = activation_slope(after, potential) * e
    turned_force = activation_curvature(after, potential) * _potential_moved(network, l, z, v) * e
    turned: Batch = activation_curvature(before, z) * v * affine_transposed(
        network, l, force
    ) + activation_slope(before, z) * affine_transposed(network, l, turned_force)
    return turned


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
    widths = [z.shape[1] for z in sample[1:-1]]
    size = sum(widths)
    cuts = np.cumsum(widths)[:-1]

    def product(rows: Float[np.ndarray, "_rows n_hidden"]) -> Float[np.ndarray, "_rows n_hidden"]:
        """Multiply every row by the Hessian of this one sample."""
        repeated = [np.repeat(z, len(rows), axis=0) for z in sample]
        blocks = np.split(rows, cuts, axis=1)
        return np.concatenate(
            activity_hessian_product(network, repeated, blocks, precision), axis=1
        )

    if size <= _DENSE_UNITS:
        return float(np.linalg.eigvalsh(product(np.eye(size)))[0 if least else -1])
    if least and not network.images:
        try:
            return _least_of_blocks(*sample_hessian(network, sample, precision))
        except LinAlgError:
            pass  # not positive definite: the least is negative, and found by iteration
    found = extreme_eigenvalue(
        lambda v: product(v.reshape(1, -1))[0],
        size,
        "SA" if least else "LA",
        accuracy=_LANCZOS_ACCURACY,
        basis=_LANCZOS_BASIS,
    )
    margin = _LANCZOS_ACCURACY * abs(found)
    return found - margin if least else found + margin


def sample_hessian(
    network: Layered, sample: Sequence[Batch], precision: Precision | None = None
) -> tuple[list[Matrix], list[Matrix]]:
    """``H`` of one sample in a dense network, block by block.

    Parameters
    ----------
    network
        Dense layers only.
    sample
        ``z_0 … z_L``, one row each.
    precision
        Of the outputs, one row; 1 if not given.

    Returns
    -------
    tuple
        ``H_{l,l}`` for the hidden layers, and ``H_{l+1,l}`` for all but the last of them.
    """
    forces = weighted_errors(network, sample, precision)
    counted = weigh(np.ones_like(forces[-1]), precision)[1]
    diagonal, below = [], []
    for l in range(1, network.depth):
        z, force, weight = sample[l], forces[l], network.weights[l]
        before, after = network.activations(l + 1)
        potential = affine(network, l + 1, activate(before, z))
        outer, driven = activation_slope(after, potential), weight * activation_slope(before, z)
        pi = counted if l + 1 == network.depth else 1.0
        middle = outer**2 * pi - activation_curvature(after, potential) * force
        straight = 1 - activation_curvature(before, z) * ((outer * force) @ weight)
        diagonal.append(driven.T @ (middle.T * driven) + np.diag(straight[0]))
        below.append(-outer.T * driven)
    return diagonal, below[:-1]


def _least_of_blocks(diagonal: Sequence[Matrix], below: Sequence[Matrix]) -> float:
    """``λ_min``, from below: the inverse's largest eigenvalue is well separated.

    By block Cholesky: ``C_l C_lᵀ = H_{l,l} - G_{l-1} G_{l-1}ᵀ``, ``G_l = H_{l+1,l} C_l⁻ᵀ``.

    Raises
    ------
    LinAlgError
        If the matrix is not positive definite.
    """
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
            parts[l] = _solve_lower(factors[l], parts[l], transposed=True)
        return np.concatenate(parts)

    top = extreme_eigenvalue(
        solve,
        sum(map(len, diagonal)),
        "LA",
        accuracy=_LANCZOS_ACCURACY,
        basis=_INVERSE_BASIS,
    )
    return (1 - _LANCZOS_ACCURACY) / top


def _solve_lower(factor: Matrix, right: Array, *, transposed: bool = False) -> Array:
    solved: Array = solve_triangular(
        factor, right, lower=True, trans=int(transposed), check_finite=False
    )
    return solved
