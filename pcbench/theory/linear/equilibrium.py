r"""Theorem 1 of the paper: the energy of a deep linear network at equilibrium (§2.1).

.. math::
    𝓕^*(θ) = \frac{1}{2N} \sum_n r_n^T S^{-1} r_n, \qquad
    S = I + \sum_{l=2}^{L} W_{L:l} W_{L:l}^T, \qquad r_n = y_n - W_{L:1} x_n .
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from pcbench.theory.linear.products import Weights, chains_from_output, solve


def output_covariance(weights: Weights) -> Float[np.ndarray, "d_L d_L"]:
    """``S = I + Σ_{l=2}^{L} W_{L:l} W_{L:l}ᵀ``: the covariance that Theorem 1 gives the output."""
    product = np.eye(weights[-1].shape[0])
    covariance = product.copy()
    for weight in reversed(weights[1:]):
        product = product @ weight
        covariance += product @ product.T
    return covariance


def residuals(
    weights: Weights, x: Float[np.ndarray, "N d_0"], y: Float[np.ndarray, "N d_L"]
) -> Float[np.ndarray, "N d_L"]:
    """``R = Y - X W_{L:1}ᵀ``: targets less feedforward predictions."""
    off: Float[np.ndarray, "N d_L"] = y - x @ chains_from_output(weights)[0].T
    return off


def loss(weights: Weights, x: Float[np.ndarray, "N d_0"], y: Float[np.ndarray, "N d_L"]) -> float:
    """``𝓛 = 1/(2N) Σ_n ‖r_n‖²``."""
    r = residuals(weights, x, y)
    return float(np.sum(r**2) / (2 * len(x)))


def loss_gradient(
    weights: Weights, x: Float[np.ndarray, "N d_0"], y: Float[np.ndarray, "N d_L"]
) -> list[Float[np.ndarray, "_out _inp"]]:
    """``∂𝓛/∂W_l = -(1/N) W_{L:l+1}ᵀ (RᵀX) W_{l-1:1}ᵀ`` for ``l = 1 … L``."""
    from_output = chains_from_output(weights)
    moved = residuals(weights, x, y).T @ x / len(x)  # RᵀX W_{l-1:1}ᵀ / N, l = 1
    gradients = []
    for l, weight in enumerate(weights, start=1):
        gradients.append(-from_output[l].T @ moved)
        moved = moved @ weight.T
    return gradients


def equilibrated_energy(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    observed: Bool[np.ndarray, "N d_L"] | None = None,
) -> float:
    """``𝓕*`` by Theorem 1.

    Parameters
    ----------
    weights, x, y
        The network and a batch.
    observed
        Which outputs are clamped; the others have precision 0 and drop out of ``r`` and ``S``,
        sample by sample: ``r_oᵀ (S_oo)⁻¹ r_o``. All of them if not given.
    """
    r, covariance = residuals(weights, x, y), output_covariance(weights)
    if observed is None:
        return float(np.sum(r * solve(covariance, r.T).T) / (2 * len(x)))
    total = 0.0
    for seen, residual in zip(observed, r, strict=True):
        part = residual[seen]
        total += float(part @ solve(covariance[np.ix_(seen, seen)], part[:, None])[:, 0])
    return total / (2 * len(x))


def equilibrated_energy_gradient(
    weights: Weights, x: Float[np.ndarray, "N d_0"], y: Float[np.ndarray, "N d_L"]
) -> list[Float[np.ndarray, "_out _inp"]]:
    """``∂𝓕*/∂W_l`` for ``l = 1 … L``, by differentiating Theorem 1's formula.

    No activity enters. With ``u_n = S⁻¹ r_n`` (rows of ``U``) and ``P_k = W_{L:k}``::

        d𝓕* = 1/N Σ_n ( u_nᵀ dr_n - ½ u_nᵀ dS u_n ),   dr_n = -W_{L:l+1} dW_l W_{l-1:1} x_n,
        dS   = Σ_{k=2}^{l} ( W_{L:l+1} dW_l W_{l-1:k} P_kᵀ + its transpose ),

    hence ``∂𝓕*/∂W_l = -(1/N) W_{L:l+1}ᵀ [ UᵀX W_{l-1:1}ᵀ + UᵀU A_l ]`` with
    ``A_l = Σ_{k=2}^{l} P_k W_{l-1:k}ᵀ``, which grows by ``A_{l+1} = A_l W_lᵀ + P_{l+1}``.
    """
    from_output = chains_from_output(weights)
    u = solve(output_covariance(weights), residuals(weights, x, y).T).T
    driven_by_input = u.T @ x / len(x)  # UᵀX W_{l-1:1}ᵀ / N
    second_moment = u.T @ u / len(x)  # UᵀU / N
    driven_by_errors = np.zeros_like(driven_by_input)  # A_l, and A_1 is an empty sum
    gradients = []
    for l, weight in enumerate(weights, start=1):
        gradients.append(-from_output[l].T @ (driven_by_input + second_moment @ driven_by_errors))
        driven_by_input = driven_by_input @ weight.T
        driven_by_errors = driven_by_errors @ weight.T + from_output[l]
    return gradients


def output_covariance_norm(weights: Weights) -> float:
    """``λ_max(S)``; because ``I ⪯ S ⪯ λ_max(S) I``, ``𝓛/λ_max(S) ≤ 𝓕* ≤ 𝓛``."""
    return float(np.linalg.eigvalsh(output_covariance(weights))[-1])
