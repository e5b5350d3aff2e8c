r"""Hessians at the origin and at every zero-rank saddle: Theorems 2 and 3 (§2.4, §2.5).

**The origin.** With ``Σ_yy = YᵀY/N``, ``Σ_xy = XᵀY/N`` and parameters flattened row by row:

* the energy's Hessian has the diagonal block ``-Σ_yy ⊗ I_{d_{L-1}}`` of ``W_L``, the loss's has
  not;
* with one hidden layer both have the cross block
  ``∂²/∂(W_1)_{ij} ∂(W_2)_{ai'} = -δ_{ii'} (Σ_xy)_{ja}``; with more, no cross block;
* everything else is zero.

So the origin is a strict saddle of the energy at any depth, and of the loss only for ``L = 2``.

Of a non-linear network with ``φ(0) = 0`` the cross block carries ``φ'(0)``, and in the ``pre``
convention the diagonal block ``φ'(0)²`` (§3.2); in ``post`` that block is free of ``φ``, and needs
no slope where there is no cross block.

**Zero-rank saddles.** Where ``W_L = 0`` and ``W_{L-1:1} = 0``, other layers free,

.. math::
    ∇^2 𝓕^* = ∇^2 𝓛 - E_{LL} ⊗ (Σ_{yy} ⊗ M), \qquad
    M = I + \sum_{l=2}^{L-1} W_{L-1:l} W_{L-1:l}^T,

and the Hessian of the loss has only the cross blocks between ``W_L`` and ``W_k``, ``k < L``: the
bilinear form ``(V, D) ↦ -(1/N) Σ_n y_nᵀ V W_{L-1:k+1} D W_{k-1:1} x_n``. Both are therefore an
arrow, ``[[0, C], [Cᵀ, A]]``, with the parameters of ``W_L`` last.

Inference that takes ``t`` steps ``Δt`` of gradient descent from the feedforward activities, which
at such a point are the equilibrium, is off to first order by ``(I - Δt H_z)^t`` of what the
equilibrium has moved by, ``H_z^{-1} W_L^T y`` from the last hidden layer on. The energy that it
reaches so has the same Hessian with

.. math:: M_t = [H_z^{-1} (I - (I - Δt H_z)^{2t})]_{L-1, L-1}

instead of ``M = [H_z^{-1}]_{L-1, L-1}``: ``∇²𝓛`` at ``t = 0``, ``∇²𝓕*`` as ``t`` grows, and at the
origin, where ``H_z = I``, ``M_t = (1 - (1 - Δt)^{2t}) I``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import scipy.sparse
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator

from pcbench.theory.arrays import (
    Inputs,
    Targets,
    Weights,
    chain,
    chains_to_input,
    extreme_eigenvalue,
)
from pcbench.theory.linear.equilibrium import activity_hessian
from pcbench.theory.nonlinear.activations import KINKED, Activation, activation_slope

Objective = Literal["loss", "energy"]


@dataclass(frozen=True, slots=True)
class Slopes:
    """What an activation makes of the two blocks: factors of the cross and the diagonal one."""

    cross: float = 1.0
    corner: float = 1.0

    @classmethod
    def of(cls, activation: Activation, convention: str) -> Slopes:
        """Return the factors of a ``φ`` with ``φ(0) = 0``; rectifiers in ``pre`` have none."""
        kinked = activation in KINKED
        if kinked and convention == "pre":
            raise ValueError(f"{activation} in the pre convention has no Hessian at the origin")
        slope = 1.0 if kinked else float(activation_slope(activation, np.zeros((1, 1)))[0, 0])
        return cls(float("nan") if kinked else slope, slope**2 if convention == "pre" else 1.0)


LINEAR = Slopes()


def origin_hessian(
    widths: Sequence[int], x: Inputs, y: Targets, objective: Objective, slopes: Slopes = LINEAR
) -> scipy.sparse.csr_array:
    """Return the whole Hessian at the origin, ``(P, P)``, entry by entry; ``L ≥ 2``."""
    n_layers = _require_hidden(widths, slopes)
    last = np.zeros((widths[-1] * widths[-2],) * 2)
    if objective == "energy":
        last = np.kron(-slopes.corner * (y.T @ y) / len(y), np.eye(widths[-2]))
    if n_layers > 2:
        before = sum(out * inp for inp, out in pairwise(widths[:-1]))
        empty = scipy.sparse.csr_array((before, before))
        return scipy.sparse.block_diag([empty, last], format="csr")
    cross = np.einsum("ik,ja->ijak", np.eye(widths[1]), -slopes.cross * (x.T @ y) / len(x))
    cross = cross.reshape(widths[1] * widths[0], widths[2] * widths[1])
    return scipy.sparse.block_array([[None, cross], [cross.T, last]], format="csr")


def origin_spectrum(
    widths: Sequence[int], x: Inputs, y: Targets, objective: Objective, slopes: Slopes = LINEAR
) -> Float[np.ndarray, " P"]:
    """Return all eigenvalues at the origin, ascending, found from a small matrix.

    ``L = 2``: those of ``[[0, -Σ_xy], [-Σ_yx, -Σ_yy]]`` (without ``Σ_yy`` for the loss), each
    ``d_1`` times. ``L > 2``: those of ``-Σ_yy``, each ``d_{L-1}`` times, and zeros (for the loss,
    zeros only).
    """
    small = origin_eigenvalues(_require_hidden(widths, slopes), x, y, objective, slopes)
    n_parameters = sum(out * inp for inp, out in pairwise(widths))
    return _with_zeros(np.repeat(small, widths[-2]), n_parameters)


def _with_zeros(eigenvalues: Float[np.ndarray, " n"], size: int) -> Float[np.ndarray, " P"]:
    return np.sort(np.concatenate([eigenvalues, np.zeros(size - len(eigenvalues))]))


def origin_eigenvalues(
    n_layers: int, x: Inputs, y: Targets, objective: Objective, slopes: Slopes = LINEAR
) -> Float[np.ndarray, " n"]:
    """Return the same, ascending, without the multiplicity ``d_{L-1}`` and the other zeros."""
    corner = np.zeros((y.shape[1],) * 2)
    if objective == "energy":
        corner = -slopes.corner * (y.T @ y) / len(y)
    small = corner
    if n_layers == 2:
        cross = -slopes.cross * (x.T @ y) / len(x)
        small = np.block([[np.zeros((x.shape[1],) * 2), cross], [cross.T, corner]])
    return np.linalg.eigvalsh(small)


def _require_hidden(widths: Sequence[int], slopes: Slopes) -> int:
    if len(widths) < 3:
        raise ValueError("Theorem 2 is about networks with at least one hidden layer")
    if len(widths) == 3 and np.isnan(slopes.cross):
        raise ValueError("a rectifier has no slope at 0, and so no cross block")
    return len(widths) - 1


@dataclass(frozen=True, slots=True)
class Steps:
    """So many steps of gradient inference, of such a length."""

    number: int
    step: float


def zero_rank_hessian(
    weights: Weights, x: Inputs, y: Targets, objective: Objective, after: Steps | None = None
) -> scipy.sparse.csr_array:
    """Return the whole Hessian at a zero-rank saddle, ``(P, P)``, entry by entry.

    Of the energy at equilibrium, or ``after`` so many steps of gradient inference.
    """
    cross = _cross(weights, x, y)
    corner = _corner(weights, y, objective, after)
    return scipy.sparse.block_array([[None, cross], [cross.T, corner]], format="csr")


def zero_rank_spectrum(
    weights: Weights, x: Inputs, y: Targets, objective: Objective
) -> Float[np.ndarray, " P"]:
    """Return all eigenvalues at a zero-rank saddle, ascending, found from a small matrix.

    With ``C = Q R`` and ``Q`` orthonormal, ``[[0, C], [Cᵀ, A]]`` acts as ``[[0, R], [Rᵀ, A]]`` on
    the span of ``Q`` and the last layer, and as zero on the rest.
    """
    cross = _cross(weights, x, y)
    corner = _corner(weights, y, objective)
    _, r = np.linalg.qr(cross)
    small = np.block([[np.zeros((len(r),) * 2), r], [r.T, corner]])
    return _with_zeros(np.linalg.eigvalsh(small), sum(weight.size for weight in weights))


def zero_rank_operator(
    weights: Weights, x: Inputs, y: Targets, objective: Objective
) -> LinearOperator:
    """Return the same Hessian by its products: nothing larger than the weights is formed."""
    moments, second = x.T @ y / len(x), y.T @ y / len(y)
    last = len(weights)
    from_input = [to_input @ moments for to_input in chains_to_input(weights)[: last - 1]]
    onward = [chain(weights, last - 1, k + 1) for k in range(1, last)]
    covariance = _last_hidden_covariance(weights)
    cuts = np.cumsum([weight.size for weight in weights])[:-1]

    def product(flat: Float[np.ndarray, "..."]) -> Float[np.ndarray, " P"]:
        *before, v = (
            part.reshape(weight.shape)
            for part, weight in zip(np.split(flat.ravel(), cuts), weights, strict=True)
        )
        image = [-(up.T @ v.T @ down.T) for up, down in zip(onward, from_input, strict=True)]
        corner = -second @ v @ covariance if objective == "energy" else np.zeros_like(v)
        for up, d, down in zip(onward, before, from_input, strict=True):
            corner = corner - (up @ d @ down).T
        return np.concatenate([part.ravel() for part in [*image, corner]])

    size = sum(weight.size for weight in weights)
    return LinearOperator((size, size), matvec=product, dtype=np.float64)


def zero_rank_ends(
    weights: Weights, x: Inputs, y: Targets, objective: Objective
) -> tuple[float, float]:
    """Return the least and the largest eigenvalue at a zero-rank saddle of any size.

    Where the cross blocks vanish they are those of ``A`` and 0; else they are found by iteration,
    and 0 is among them where other layers have more parameters than ``W_L``: the rank of their
    cross block is less than their number.
    """
    operator = zero_rank_operator(weights, x, y, objective)
    # A fixed start keeps the numbers reproducible. In the last layer alone, it sees cross blocks.
    start = np.random.default_rng(0).standard_normal(operator.shape[0])
    start[: -weights[-1].size] = 0.0
    crossed = operator.matvec(start)[: -weights[-1].size].any()
    if not crossed:
        return (zero_rank_curvature_bound(weights, y) if objective == "energy" else 0.0), 0.0
    least, largest = (
        extreme_eigenvalue(operator.matvec, operator.shape[0], end, start=start)
        for end in ("SA", "LA")
    )
    if operator.shape[0] > 2 * weights[-1].size:
        return min(least, 0.0), max(largest, 0.0)
    return least, largest


def zero_rank_curvature_bound(weights: Weights, y: Targets) -> float:
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
    weights: Weights, y: Targets, objective: Objective, after: Steps | None = None
) -> Float[np.ndarray, "p_L p_L"]:
    """``A``: ``-Σ_yy ⊗ M`` for the energy, zero for the loss."""
    if objective == "loss":
        return np.zeros((weights[-1].size,) * 2)
    covariance = _last_hidden_covariance(weights)
    if after:  # M_t
        curvatures, modes = np.linalg.eigh(activity_hessian(weights))
        passed = 1 - (1 - after.step * curvatures) ** (2 * after.number)
        last = modes[-weights[-1].shape[1] :]
        covariance = (last * (passed / curvatures)) @ last.T
    return np.kron(-(y.T @ y) / len(y), covariance)


def _cross(weights: Weights, x: Inputs, y: Targets) -> Float[np.ndarray, "p_before p_L"]:
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
