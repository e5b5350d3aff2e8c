r"""Theorem 3 of the paper, and beyond: the Hessians at every zero-rank saddle (§2.5).

Where ``W_L = 0`` and ``W_{L-1:1} = 0``, other layers free,

.. math::
    ∇^2 𝓕^* = ∇^2 𝓛 - E_{LL} ⊗ (Σ_{yy} ⊗ M), \qquad
    M = I + \sum_{l=2}^{L-1} W_{L-1:l} W_{L-1:l}^T,

and the Hessian of the loss has only the cross blocks between ``W_L`` and ``W_k``, ``k < L``: the
bilinear form ``(V, D) ↦ -(1/N) Σ_n y_nᵀ V W_{L-1:k+1} D W_{k-1:1} x_n``. Both are therefore an
arrow, ``[[0, C], [Cᵀ, A]]``, with the parameters of ``W_L`` last.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from jaxtyping import Float

from pcbench.theory.origin import Objective
from pcbench.theory.products import Weights, chain, chains_to_input


def zero_rank_hessian(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    objective: Objective,
) -> scipy.sparse.csr_array:
    """Return the whole Hessian at a zero-rank saddle, ``(P, P)``, entry by entry."""
    cross = _cross(weights, x, y)
    corner = _corner(weights, y, objective)
    return scipy.sparse.block_array([[None, cross], [cross.T, corner]], format="csr")


def zero_rank_spectrum(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    objective: Objective,
) -> Float[np.ndarray, " P"]:
    """Return all eigenvalues at a zero-rank saddle, ascending, found from a small matrix.

    With ``C = Q R`` and ``Q`` orthonormal, ``[[0, C], [Cᵀ, A]]`` acts as ``[[0, R], [Rᵀ, A]]`` on
    the span of ``Q`` and the last layer, and as zero on the rest.
    """
    cross = _cross(weights, x, y)
    corner = _corner(weights, y, objective)
    _, r = np.linalg.qr(cross)
    small = np.block([[np.zeros((len(r),) * 2), r], [r.T, corner]])
    eigenvalues = np.linalg.eigvalsh(small)
    n_parameters = sum(weight.size for weight in weights)
    zeros = np.zeros(n_parameters - len(eigenvalues))
    return np.sort(np.concatenate([eigenvalues, zeros]))


def zero_rank_curvature_bound(weights: Weights, y: Float[np.ndarray, "N d_L"]) -> float:
    """``-λ_max(Σ_yy) λ_max(M)``, which ``λ_min(∇²𝓕*)`` does not exceed.

    The two are equal where the cross blocks vanish.
    """
    top_target = float(np.linalg.eigvalsh(y.T @ y / len(y))[-1])
    return -top_target * float(np.linalg.eigvalsh(_last_hidden_covariance(weights))[-1])


def _last_hidden_covariance(weights: Weights) -> Float[np.ndarray, "d d"]:
    """``M = I + Σ_{l=2}^{L-1} W_{L-1:l} W_{L-1:l}ᵀ``."""
    last = len(weights) - 1
    covariance = np.eye(weights[-1].shape[1])
    for l in range(2, last + 1):
        product = chain(weights, last, l)
        covariance += product @ product.T
    return covariance


def _corner(
    weights: Weights, y: Float[np.ndarray, "N d_L"], objective: Objective
) -> Float[np.ndarray, "p_L p_L"]:
    """``A``: ``-Σ_yy ⊗ M`` for the energy, zero for the loss."""
    if objective == "loss":
        return np.zeros((weights[-1].size,) * 2)
    return np.kron(-(y.T @ y) / len(y), _last_hidden_covariance(weights))


def _cross(
    weights: Weights, x: Float[np.ndarray, "N d_0"], y: Float[np.ndarray, "N d_L"]
) -> Float[np.ndarray, "p_before p_L"]:
    """``C``: rows ``(W_k)_{pq}``, columns ``(W_L)_{ai}``.

    Its entries are ``-(W_{L-1:k+1})_{ip} (W_{k-1:1} Σ_xy)_{qa}``.
    """
    last = len(weights) - 1
    moments = x.T @ y / len(x)  # Σ_xy
    blocks = []
    for k, to_input in zip(range(1, last + 1), chains_to_input(weights), strict=False):
        onward = chain(weights, last, k + 1)
        block = np.einsum("ip,qa->pqai", -onward, to_input @ moments)
        blocks.append(block.reshape(weights[k - 1].size, weights[-1].size))
    return np.concatenate(blocks)
