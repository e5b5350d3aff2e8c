r"""Critical points of the equilibrated energy: what holds there, and which are strict (§2.6).

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

**Certificates of strictness.** With ``A = W_{L-1:1}``, ``R`` the residuals, ``Σ_rx = RᵀX/N``, ``M``
and ``K`` as in §2.5 and §2.6:

**Lemma B.** If ``rank A < d_{L-1}`` and ``R ≠ 0``: along ``δW_L = u aᵀ``, with ``u`` the top
eigenvector of ``RᵀR/N`` (eigenvalue ``λ``) and ``a ⟂ range A``, the curvature is ``-λ aᵀ K a``.

**Lemma C.** If ``Σ_rx ≠ 0`` and a unit vector ``a`` has ``W_L a = 0`` and ``a = W_{L-1:2} b``: with
``u``, ``v`` the top singular vectors of ``Σ_rx`` (singular value ``σ``), the curvature on the plane
of ``δW_L = u aᵀ`` and ``δW_1 = b vᵀ/‖b‖`` is

.. math::
    \begin{pmatrix} c & -σ/‖b‖ \\ -σ/‖b‖ & 0 \end{pmatrix}, \qquad
    c = a^T A Σ_{xx} A^T a - (u^T \tfrac{R^T R}{N} u) \; a^T K a ,

whose determinant is negative. *Proof.* Along ``δW_1`` neither ``S`` nor ``r`` changes, for
``W_L W_{L-1:2} b = W_L a = 0``; so its curvature is 0. Along both, ``∂r/∂ε = -t u vᵀx/‖b‖``, and
the mixed derivative is ``-uᵀ S⁻¹ Σ_rx v/‖b‖ = -σ/‖b‖``, as ``S⁻¹ r = r``. ``c`` is the second
derivative of Theorem 1's formula with ``R W_L = 0``, ``A Σ_xr = 0`` and ``u ⟂ range W_L``. ∎

**Lemma D.** If ``W_L`` has full column rank and ``A`` full row rank, ``W_{L:1} = P B`` with ``B``
the least-squares solution and ``P``, the projection onto the range of ``W_L``, commuting with
``Q = B Σ_xx Bᵀ``. If an eigenvector ``u ⟂ range P`` of ``Q`` has a larger eigenvalue than one in
it, ``w`` (``λ_u > λ_w``), turning ``w`` into ``u`` lowers the loss with curvature ``-(λ_u - λ_w)``,
and ``𝓕* ≤ 𝓛`` with equality at the point, so that the energy's curvature along it is no larger.

Together: *every critical point of* ``𝓕*`` *that is no global minimum of the loss is a strict
saddle.* For if A has full row rank and ``Σ_rx ≠ 0`` (without which ``W_{L:1} = B``), either ``W_L``
has a kernel and C applies, or D does, unless ``P`` takes the top ``d_{L-1}`` eigenvectors, and no
network with that last hidden layer fits better.

**Limited rank** (Baldi & Hornik 1989, Neural Networks 2:53). Predictions ``X Wᵀ`` with ``W`` of
rank ``k`` lie in the column space of ``X``, and have rank ``k``. With ``P`` the projection onto
that space, and the singular values ``s_i`` of ``P Y``,

.. math::
    \min_{\mathrm{rank}\, W \le k} 𝓛 = \frac{1}{2N} \Big( \|Y\|^2 - \sum_{i \le k} s_i^2 \Big) ,

by Eckart & Young, and the best ``W`` is a critical point of a deep linear network that can be it:
for ``k`` below the rank of ``P Y``, a saddle.

**Along a straight line** in weight space (§2.1) the energy is a power series. Along ``W_l + t V_l``
the products of Theorem 1 are polynomials in ``t``. Multiplying out, and solving ``S(t) U(t) =
R(t)`` order by order,

.. math::
    U_k = S_0^{-1} \Bigl( R_k - \sum_{j=1}^{k} S_j U_{k-j} \Bigr), \qquad
    𝓕^*(t) = \frac{1}{2N} \sum_k t^k \sum_{i+j=k} \langle R_i, U_j \rangle ,

gives derivatives of any order without a difference. Everything is done in the dtype of what comes
in, ``longdouble`` included, for which NumPy has no linear algebra; what it is used for are outputs
of a few dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped
from scipy.linalg import orth

from pcbench.theory.arrays import (
    Inputs,
    Targets,
    Units,
    WeightGradients,
    Weights,
    chain,
    chains_from_output,
)
from pcbench.theory.linear.equilibrium import (
    equilibrium_errors,
    output_covariance,
    output_covariance_norm,
    residuals,
)
from pcbench.theory.rounding.bounds import CONFIDENCE


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

    ``‖G_l‖`` (Frobenius), or what it is at most, one a layer, are the gradients given.
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
    norms = [[np.linalg.norm(p.T @ product, 2) for p in products] for product in products]
    reached = np.sqrt(samples * forces)  # ‖U P_k‖
    bounds: Float[np.ndarray, " L_minus_1"] = reached + np.sum(reached * norms, axis=1)
    return bounds


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


# Not Float: jaxtyping does not know numpy.longdouble by its platform's name.
Matrix = Shaped[np.ndarray, "_rows _columns"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A direction along which a critical point curves down, and by how much."""

    lemma: Literal["B", "C", "D"]  # which of the lemmas names it
    directions: WeightGradients  # V_1 … V_L, of norm 1 all together
    curvature: float  # Vᵀ ∇²𝓕* V: exactly so for B and C; at most so for D


def certificate(weights: Weights, x: Units, y: Units, off: float) -> Certificate | None:
    """Return the first of B, C and D that applies at a critical point, or ``None``.

    The network has a hidden layer or more. What is no larger than ``off`` counts as zero: products
    of weights, and residuals in root mean square.
    """
    r = residuals(weights, x, y)
    if np.sqrt(np.sum(r**2) / len(x)) <= off:
        return None
    first = chain(weights, len(weights) - 1, 1)
    free = _null_space(first.T, off)
    if free.shape[1]:
        return _lemma_b(weights, r, free)
    return _lemma_c(weights, x, r, off) or _lemma_d(weights, x, y, off)


def _lemma_b(weights: Weights, r: Units, free: Matrix) -> Certificate:
    values, vectors = np.linalg.eigh(r.T @ r / len(r))
    k = free.T @ _last_hidden_curvature(weights) @ free
    gains, within = np.linalg.eigh(k)
    directions = _still(weights)
    directions[-1] = np.outer(vectors[:, -1], free @ within[:, -1])
    return Certificate("B", directions, -float(values[-1] * gains[-1]))


def _lemma_c(weights: Weights, x: Units, r: Units, off: float) -> Certificate | None:
    onward = chain(weights, len(weights) - 1, 2)
    silent = _null_space(weights[-1], off)
    reached = np.linalg.pinv(onward)
    # Of the kernel of W_L, what is in the range of W_{L-1:2} too.
    silent = silent @ _null_space(silent - onward @ (reached @ silent), off)
    u, sigma, v = np.linalg.svd(r.T @ x / len(x))
    if silent.shape[1] == 0 or sigma[0] <= off:
        return None
    # The shortest b has the strongest coupling.
    a = silent @ np.linalg.svd(reached @ silent)[2][-1]
    b = reached @ a
    first = a @ chain(weights, len(weights) - 1, 1)
    lost = float(np.sum((r @ u[:, 0]) ** 2) / len(r))
    c = float(np.sum((x @ first) ** 2) / len(x)) - lost * float(
        a @ _last_hidden_curvature(weights) @ a
    )
    coupling = float(sigma[0] / np.linalg.norm(b))
    values, vectors = np.linalg.eigh(np.array([[c, -coupling], [-coupling, 0.0]]))
    directions = _still(weights)
    directions[-1] += vectors[0, 0] * np.outer(u[:, 0], a)
    directions[0] += vectors[1, 0] * np.outer(b / np.linalg.norm(b), v[0])
    return Certificate("C", directions, float(values[0]))


def _lemma_d(weights: Weights, x: Units, y: Units, off: float) -> Certificate | None:
    if _null_space(weights[-1], off).shape[1]:
        return None
    fit = np.linalg.lstsq(x, y, rcond=None)[0].T  # B
    explained = fit @ (x.T @ x / len(x)) @ fit.T  # Q
    taken, _ = np.linalg.qr(weights[-1])
    left = _null_space(weights[-1].T, off)
    values_left, vectors_left = np.linalg.eigh(left.T @ explained @ left)
    values_taken, vectors_taken = np.linalg.eigh(taken.T @ explained @ taken)
    if left.shape[1] == 0 or values_left[-1] - values_taken[0] <= off:
        return None
    u, w = left @ vectors_left[:, -1], taken @ vectors_taken[:, 0]
    directions = _still(weights)
    directions[-1] += np.outer(u, w @ weights[-1])
    back = np.linalg.pinv(weights[-1] @ chain(weights, len(weights) - 1, 2))
    directions[0] += np.outer(back @ w, u @ fit)
    length = float(np.sqrt(sum(np.sum(d**2) for d in directions)))
    drop = float(values_left[-1] - values_taken[0])
    return Certificate("D", [d / length for d in directions], -drop / length**2)


def _last_hidden_curvature(weights: Weights) -> Matrix:
    """``K = (M⁻¹ + W_Lᵀ W_L)⁻¹``, positive definite."""
    m = output_covariance(weights[:-1])  # M is to layer L-1 what S is to layer L
    return np.linalg.inv(np.linalg.inv(m) + weights[-1].T @ weights[-1])


def _null_space(matrix: Matrix, off: float) -> Matrix:
    """Orthonormal vectors that the matrix takes to no more than ``off``, one a column."""
    _, sizes, rows = np.linalg.svd(matrix)
    return rows[int(np.sum(sizes > off)) :].T


def _still(weights: Weights) -> WeightGradients:
    return [np.zeros_like(weight) for weight in weights]


def least_losses(x: Inputs, y: Targets) -> Float[np.ndarray, " ranks"]:
    """``𝓛`` of the best linear maps of rank 0, 1, … up to the smaller side of ``P Y``."""
    projected = orth(x).T @ y
    singular = np.linalg.svd(projected, compute_uv=False)
    explained = np.concatenate([[0.0], np.cumsum(singular**2)])
    losses: Float[np.ndarray, " ranks"] = (np.sum(y**2) - explained) / (2 * len(x))
    return losses


def energy_series(
    weights: Sequence[Matrix],
    directions: Sequence[Matrix],
    x: Shaped[np.ndarray, "N d_0"],
    y: Shaped[np.ndarray, "N d_L"],
    order: int,
) -> Shaped[np.ndarray, " order_plus_1"]:
    """Coefficients of ``𝓕*`` at ``W_l + t V_l``: of ``t⁰ … t^order``, all in one real dtype."""
    size, dtype = len(weights[-1]), weights[-1].dtype
    product = [np.eye(size, dtype=dtype)] + [np.zeros((size, size), dtype)] * order
    covariance = list(product)
    for weight, direction in zip(weights[:0:-1], directions[:0:-1], strict=True):
        product = _times_line(product, weight, direction)
        for k in range(order + 1):
            covariance[k] = covariance[k] + sum(product[i] @ product[k - i].T for i in range(k + 1))
    product = _times_line(product, weights[0], directions[0])
    off = [-(part @ x.T) for part in product]
    off[0] = y.T + off[0]
    solved: list[Matrix] = []
    for k in range(order + 1):
        left = off[k] - sum(covariance[j] @ solved[k - j] for j in range(1, k + 1))
        solved.append(_solve(covariance[0], left))
    return np.array(
        [
            sum(np.sum(off[i] * solved[k - i]) for i in range(k + 1)) / (2 * len(x))
            for k in range(order + 1)
        ],
        dtype,
    )


def curvature_along(
    weights: Sequence[Matrix],
    directions: Sequence[Matrix],
    x: Shaped[np.ndarray, "N d_0"],
    y: Shaped[np.ndarray, "N d_L"],
) -> float:
    """``d²𝓕*/dt²`` at ``W_l + t V_l``, ``t = 0``: ``Vᵀ ∇²𝓕* V``, at any point, in longdouble."""
    groups = (weights, directions, (x, y))
    line, direction, ends = ([np.asarray(a, np.longdouble) for a in group] for group in groups)
    return 2 * float(energy_series(line, direction, ends[0], ends[1], 2)[2])


def curvature_rounding(weights: Sequence[Matrix], curvature: float) -> float:
    """Bound the rounding of :func:`curvature_along` where no curvature is larger than this.

    ``S ⪰ I`` is solved with a condition number of ``λ_max(S)`` at most, in longdouble: which is
    float64 on some machines.
    """
    condition = output_covariance_norm(weights)
    return CONFIDENCE * float(np.finfo(np.longdouble).eps) / 2 * condition * curvature


def _times_line(series: list[Matrix], weight: Matrix, direction: Matrix) -> list[Matrix]:
    """Multiply a series by ``W + t V``, cut off at the order that it has."""
    moved = [part @ weight for part in series]
    for k, part in enumerate(series[:-1], start=1):
        moved[k] = moved[k] + part @ direction
    return moved


def _solve(matrix: Matrix, right: Matrix) -> Matrix:
    """Solve with a matrix ``⪰ I``: elimination, which then needs no pivots."""
    a, b = matrix.copy(), right.copy()
    for k in range(len(a)):
        for i in range(k + 1, len(a)):
            factor = a[i, k] / a[k, k]
            a[i, k:] -= factor * a[k, k:]
            b[i] -= factor * b[k]
    for k in reversed(range(len(a))):
        b[k] = (b[k] - a[k, k + 1 :] @ b[k + 1 :]) / a[k, k]
    return b
