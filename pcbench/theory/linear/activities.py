r"""The activities at equilibrium, and the landscape that inference descends (§2.2, §2.3).

With input and output clamped, the energy of a linear network is quadratic in the hidden
activities ``z_1 … z_{L-1}`` of each sample, with the block tridiagonal Hessian

.. math::
    H_z: \quad (l, l) \mapsto I + W_{l+1}^T W_{l+1}, \qquad (l, l+1) \mapsto -W_{l+1}^T .
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pcbench.theory.linear.equilibrium import (
    hidden_covariance,
    multipliers,
    output_covariance,
    residuals,
)
from pcbench.theory.linear.products import Weights, chains_from_output
from pcbench.theory.nonlinear.extremal import extreme_eigenvalue
from pcbench.theory.nonlinear.layered import Precision


def equilibrium_errors(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    precision: Precision | None = None,
) -> list[Float[np.ndarray, "N _d"]]:
    """``e_1 … e_L`` at equilibrium: ``e_l = W_{L:l+1}ᵀ λ``, and at the output ``r - T λ``.

    An output of precision 0 has the error of a target equal to the feedforward prediction.
    """
    r, multiplier = multipliers(weights, x, y, precision)
    errors = [multiplier @ product for product in chains_from_output(weights)[1:]]
    if precision is not None:
        errors[-1] = r - multiplier @ hidden_covariance(weights)
    return errors


def equilibrium_activities(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    precision: Precision | None = None,
) -> list[Float[np.ndarray, "N _d"]]:
    """``z_0 … z_L`` at equilibrium: ``z_l = W_l z_{l-1} + e_l``, from ``z_0 = x``.

    ``z_L`` is ``y``, and the feedforward prediction where the precision is 0.
    """
    return activities_from_errors(weights, x, equilibrium_errors(weights, x, y, precision))


def activities_from_errors(
    weights: Weights, x: Float[np.ndarray, "N d_0"], errors: Sequence[Float[np.ndarray, "N _d"]]
) -> list[Float[np.ndarray, "N _d"]]:
    """``z_0 … z_L`` that have the given errors: the inverse of :func:`prediction_errors`."""
    activities = [x]
    for weight, error in zip(weights, errors, strict=True):
        activities.append(activities[-1] @ weight.T + error)
    return activities


def feedforward_residual(
    weights: Weights, x: Float[np.ndarray, "N d_0"], y: Float[np.ndarray, "N d_L"]
) -> float:
    """``‖∂(N𝓕)/∂z‖`` at the feedforward activities, where gradient inference starts.

    Only the last hidden layer feels a force there: ``‖R W_L‖``; 0 without hidden layers.
    """
    if len(weights) == 1:
        return 0.0
    return float(np.linalg.norm(residuals(weights, x, y) @ weights[-1]))


def prediction_errors(
    weights: Weights, activities: Sequence[Float[np.ndarray, "N _d"]]
) -> list[Float[np.ndarray, "N _d"]]:
    """``e_l = z_l - W_l z_{l-1}`` for ``l = 1 … L``, by definition (§1)."""
    return [
        above - below @ weight.T
        for weight, below, above in zip(weights, activities, activities[1:], strict=False)
    ]


def residual_norm(weights: Weights, errors: Sequence[Float[np.ndarray, "N _d"]]) -> float:
    """``‖∂(N𝓕)/∂z‖`` over all hidden activities: ``∂(N𝓕)/∂z_l = e_l - W_{l+1}ᵀ e_{l+1}`` (§2.2)."""
    squares = [
        float(np.sum((error - after @ weight) ** 2))
        for error, after, weight in zip(errors, errors[1:], weights[1:], strict=False)
    ]
    return float(np.sqrt(sum(squares)))


def activity_hessian(weights: Weights) -> Float[np.ndarray, "n_hidden n_hidden"]:
    """``H_z`` as a dense matrix over all hidden units, first layer first."""
    widths = [weight.shape[0] for weight in weights[:-1]]
    starts = np.cumsum([0, *widths])
    hessian = np.eye(starts[-1])
    for l, weight in enumerate(weights[1:]):
        here = slice(starts[l], starts[l + 1])
        hessian[here, here] += weight.T @ weight
        if l + 1 < len(widths):
            above = slice(starts[l + 1], starts[l + 2])
            hessian[here, above] = -weight.T
            hessian[above, here] = -weight
    return hessian


# Below this many hidden units a dense eigensolver is as fast as an iteration, and has no tolerance.
_DENSE_UNITS = 200
# The iteration's relative accuracy. Error bounds divide by what it returns, so it is subtracted.
_LANCZOS_ACCURACY = 1e-2


def least_activity_curvature(weights: Weights) -> float:
    """``λ_min(H_z)``, from below: the curvature that decides how far a residual can mislead.

    Large networks use Lanczos on ``H_z⁻¹`` (its top eigenvalue is well separated), which is two
    passes over the weights a product: with ``T`` unit block bidiagonal, ``T z = (z_l - W_l
    z_{l-1})``, and ``K = [W_{L:2}, …, W_L]``, ``H_z = Tᵀ T + (W_L at the last block)ᵀ(same)``, so
    that ``H_z⁻¹ = T⁻¹ (I - Kᵀ S⁻¹ K) T⁻ᵀ`` by Woodbury. A network without hidden layers has no
    ``H_z``: 1, the value of decoupled activities, is returned.
    """
    if len(weights) == 1:
        return 1.0
    widths = [weight.shape[0] for weight in weights[:-1]]
    if sum(widths) <= _DENSE_UNITS:
        return float(np.linalg.eigvalsh(activity_hessian(weights))[0])
    cuts = np.cumsum(widths)[:-1]
    inner = weights[1:-1]
    reach = np.concatenate(chains_from_output(weights)[1:-1], axis=1)  # K
    inverse_covariance = np.linalg.inv(output_covariance(weights))

    def solve(vector: Float[np.ndarray, " n_hidden"]) -> Float[np.ndarray, " n_hidden"]:
        blocks = np.split(vector, cuts)
        for l in reversed(range(len(inner))):  # T⁻ᵀ: from the output down
            blocks[l] = blocks[l] + inner[l].T @ blocks[l + 1]
        flat = np.concatenate(blocks)
        flat = flat - reach.T @ (inverse_covariance @ (reach @ flat))
        blocks = np.split(flat, cuts)
        for l in range(len(inner)):  # T⁻¹: from the input up
            blocks[l + 1] = blocks[l + 1] + inner[l] @ blocks[l]
        return np.concatenate(blocks)

    top = extreme_eigenvalue(solve, sum(widths), "LA", accuracy=_LANCZOS_ACCURACY)
    return (1 - _LANCZOS_ACCURACY) / top


def contraction_rate(weights: Weights, step: float) -> float:
    """``ρ = max_i |1 - Δt λ_i(H_z)|``: what a step of gradient inference leaves of the distance.

    0 without hidden layers, where there is no distance.
    """
    eigenvalues = np.linalg.eigvalsh(activity_hessian(weights))
    return float(np.max(np.abs(1 - step * eigenvalues), initial=0.0))
