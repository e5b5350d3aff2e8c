r"""Certificates of strictness at critical points of the equilibrated energy (§2.6).

With ``A = W_{L-1:1}``, ``R`` the residuals, ``Σ_rx = RᵀX/N``, ``M`` and ``K`` as in §2.5 and §2.6:

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
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Units, WeightGradients, Weights
from pcbench.theory.linear.equilibrium import output_covariance, residuals
from pcbench.theory.linear.products import chain

Directions = WeightGradients
Matrix = Float[np.ndarray, "_rows _columns"]
Batch = Units


@dataclass(frozen=True, slots=True)
class Certificate:
    """A direction along which a critical point curves down, and by how much.

    Attributes
    ----------
    lemma
        Which of the lemmas names it.
    directions
        ``V_1 … V_L``, of norm 1 all together.
    curvature
        ``Vᵀ ∇²𝓕* V`` at the critical point: exactly so for B and C; at most so for D.
    """

    lemma: Literal["B", "C", "D"]
    directions: Directions
    curvature: float


def certificate(weights: Weights, x: Batch, y: Batch, off: float) -> Certificate | None:
    """Return the first of B, C and D that applies at a critical point, or ``None``.

    Parameters
    ----------
    weights, x, y
        The critical point, of a network with a hidden layer or more, and the batch.
    off
        How far products of weights, and residuals in root mean square, may be off: what is no
        larger counts as zero.
    """
    r = residuals(weights, x, y)
    if np.sqrt(np.sum(r**2) / len(x)) <= off:
        return None
    first = chain(weights, len(weights) - 1, 1)
    free = _null_space(first.T, off)
    if free.shape[1]:
        return _lemma_b(weights, r, free)
    return _lemma_c(weights, x, r, off) or _lemma_d(weights, x, y, off)


def _lemma_b(weights: Weights, r: Batch, free: Matrix) -> Certificate:
    values, vectors = np.linalg.eigh(r.T @ r / len(r))
    k = free.T @ _last_hidden_curvature(weights) @ free
    gains, within = np.linalg.eigh(k)
    directions = _still(weights)
    directions[-1] = np.outer(vectors[:, -1], free @ within[:, -1])
    return Certificate("B", directions, -float(values[-1] * gains[-1]))


def _lemma_c(weights: Weights, x: Batch, r: Batch, off: float) -> Certificate | None:
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


def _lemma_d(weights: Weights, x: Batch, y: Batch, off: float) -> Certificate | None:
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


def _still(weights: Weights) -> Directions:
    return [np.zeros_like(weight) for weight in weights]
