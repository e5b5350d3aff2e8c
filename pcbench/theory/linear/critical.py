r"""What holds at all critical points of the equilibrated energy (§2.6), and how nearly nearby.

**Lemma A.** Scaling ``W_{l-1}`` by ``1/c`` and ``W_l`` by ``c`` leaves the residuals alone, so
that, with ``G_l = ∂𝓕*/∂W_l``, *at every point* and for each ``l = 2 … L``

.. math:: \langle G_l, W_l \rangle - \langle G_{l-1}, W_{l-1} \rangle
          = -\frac1N \sum_n ‖W_{L:l}^T S^{-1} r_n‖^2 .

Where the gradient vanishes, hence ``W_{L:l}ᵀ r_n = 0`` and ``𝓕* = 𝓛``; where it is merely small,
the identity bounds how far these are from holding, with no constant to choose.

**The critical set.** What is left of the gradient is ``RᵀX W_{L-1:1}ᵀ = 0``, so a point is critical
if and only if ``R W_L = 0`` and ``RᵀX W_{L-1:1}ᵀ = 0``.

**Levels.** Where ``Y = X Bᵀ`` exactly, both give ``W_{L:1} = P B`` with ``P`` the projection onto
the range of ``W_{L:1}``: ``W_{L:1}ᵀ (B - W_{L:1}) = 0`` by the first, and by the second ``B Σ_xx
W_{L:1}ᵀ = W_{L:1} Σ_xx W_{L:1}ᵀ``, so that ``P`` commutes with ``Σ_yy = B Σ_xx Bᵀ``. The energy of
a critical point is therefore half the sum of some of the eigenvalues of ``Σ_yy``. The least of them
is the least energy there is: for given ``W_L`` the best ``W_{L-1:1}`` leaves ``½ tr (I - P) Σ_yy``,
whatever ``S`` is, since ``S`` differs from ``I`` within the range of ``W_L`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Inputs, Targets, Weights
from pcbench.theory.linear.activities import equilibrium_errors
from pcbench.theory.linear.products import chains_from_output


def output_forces(weights: Weights, x: Inputs, y: Targets) -> Float[np.ndarray, " L_minus_1"]:
    """``(1/N) Σ_n ‖W_{L:l}ᵀ S⁻¹ r_n‖²`` for ``l = 2 … L``: what scaling two layers changes."""
    return np.array([np.sum(e**2) / len(x) for e in equilibrium_errors(weights, x, y)[:-1]])


def scaling_slopes(
    weights: Weights, gradients: Sequence[Float[np.ndarray, "_out _inp"]]
) -> Float[np.ndarray, " L_minus_1"]:
    """``⟨G_l, W_l⟩ - ⟨G_{l-1}, W_{l-1}⟩`` for ``l = 2 … L``, of any gradients ``G``."""
    return np.diff([np.sum(g * w) for g, w in zip(gradients, weights, strict=True)])


def scaling_bounds(weights: Weights, gradients: Sequence[float]) -> Float[np.ndarray, " L_minus_1"]:
    """``‖G_l‖‖W_l‖ + ‖G_{l-1}‖‖W_{l-1}‖``, ``l = 2 … L``, which the output forces do not exceed.

    Parameters
    ----------
    weights
        The point.
    gradients
        ``‖G_l‖`` (Frobenius), or what it is at most, one a layer.
    """
    sizes = [g * float(np.linalg.norm(w)) for g, w in zip(gradients, weights, strict=True)]
    return np.array([above + below for below, above in pairwise(sizes)])


def residual_bounds(
    weights: Weights, forces: Float[np.ndarray, " L_minus_1"], samples: int
) -> Float[np.ndarray, " L_minus_1"]:
    """Bound ``‖R W_{L:l}‖`` (Frobenius), ``l = 2 … L``, by the output forces.

    ``R = U S`` with ``S = I + Σ P_k P_kᵀ`` gives ``R P_l = U P_l + Σ_k (U P_k) P_kᵀ P_l``.
    """
    products = chains_from_output(weights)[1:-1]
    reached = np.sqrt(samples * forces)  # ‖U P_k‖
    return np.array(
        [
            own
            + sum(
                q * np.linalg.norm(p.T @ product, 2) for q, p in zip(reached, products, strict=True)
            )
            for own, product in zip(reached, products, strict=True)
        ]
    )


def loss_excess_bound(
    weights: Weights, forces: Float[np.ndarray, " L_minus_1"], samples: int
) -> float:
    """Bound ``𝓛 - 𝓕* = 1/(2N) Σ_l ⟨R P_l, U P_l⟩``, which is ``≥ 0``, by the output forces."""
    products = residual_bounds(weights, forces, samples) * np.sqrt(samples * forces)
    return float(products.sum()) / (2 * samples)


def last_layer_bound(residual: Targets, pulled: float) -> float:
    """Bound ``‖W_L‖`` where ``‖R W_L‖ ≤ pulled``: the corollary for noisy data.

    Infinite where some output direction is fitted exactly, and the corollary is silent.
    """
    least = float(np.linalg.svd(residual, compute_uv=False)[-1])
    fits = least <= len(residual) * np.finfo(np.float64).eps * float(np.linalg.norm(residual))
    return np.inf if fits or len(residual) < residual.shape[1] else pulled / least


def least_misfit(x: Inputs, y: Targets) -> float:
    """Least ``‖y-direction - best linear fit‖²/N`` over unit output directions.

    Where it is positive no weights fit any output direction exactly, and ``W_L = 0`` at every
    critical point (corollary of Lemma A).
    """
    off = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(np.linalg.eigvalsh(off.T @ off / len(x))[0])


def energy_levels(y: Targets, widths: Sequence[int]) -> Float[np.ndarray, " n"]:
    """Energies that critical points of a network may have on noise-free targets, ascending.

    ``W_{L:1}`` takes some of the eigenvectors of ``Σ_yy`` up, no more than its rank allows; half
    the sum of the other eigenvalues is left.
    """
    eigenvalues = np.linalg.eigvalsh(y.T @ y / len(y))
    n = len(eigenvalues)
    left = [
        eigenvalues.sum() - eigenvalues[list(taken)].sum()
        for rank in range(min(*widths, n) + 1)
        for taken in combinations(range(n), rank)
    ]
    return np.sort(np.maximum(left, 0.0)) / 2


def least_energy(y: Targets, last_hidden_width: int) -> float:
    """Return what ``𝓕*`` is never below on noise-free targets: ``½ Σ_{i > d_{L-1}} λ_i(Σ_yy)``."""
    eigenvalues = np.linalg.eigvalsh(y.T @ y / len(y))[::-1]
    return float(np.maximum(eigenvalues[last_hidden_width:], 0.0).sum() / 2)


def product_change(weights: Weights, distance: float) -> float:
    """Bound how far any product ``W_{k:l}`` moves (spectral norm) as weights move, to first order.

    Norms below 1 count as 1, so that one number serves products of all lengths.
    """
    norms = np.maximum([float(np.linalg.norm(weight, 2)) for weight in weights], 1.0)
    return float(distance * np.sum(np.prod(norms) / norms))


def numerical_rank(matrix: Float[np.ndarray, "_rows _columns"], off: float) -> int:
    """Count the singular values beyond what the matrix may be off by (spectral norm)."""
    return int(np.sum(np.linalg.svd(matrix, compute_uv=False) > off))
