r"""How far rounding may carry a sum whose terms are known, and how large its norms get (§4.1).

An inner product of ``n + 1`` terms ``t_i`` rounds every term, by ``u |t_i|`` at most, and then
``n`` partial sums; what is zero adds nothing, exactly. Without the terms at hand no partial sum is
known to be smaller than ``‖a‖‖b‖``.
With them, cut them into blocks: taken in whatever order, whole blocks add up to no more than

.. math:: p = \max\Big(\sum_b \max(s_b, 0), \sum_b \max(-s_b, 0)\Big), \qquad
          s_b = \sum_{i ∈ b} t_i .

The order within a block is taken as unrelated to the terms in it (for terms of mean zero this is
Higham & Mary 2020, SIAM J. Sci. Comput. 42(5), A3427). The block under way then adds a part of
``s_b``, which stays between two sums of whole blocks, and a random part of variance ``½ Σ_i t_i²``
at most. So the rounding of the whole has a variance of at most

.. math:: u^2 \Big(\sum_i t_i^2 + n \big(p^2 + \tfrac12 \sum_i t_i^2\big)\Big) .

For unrelated terms that is some ``n`` times less than ``2 n u² ‖a‖² ‖b‖²``, and like what happens.
Terms are related where indices have structure: neighbours in an image, a time series or smooth
weights are alike, which blocks of neighbours show; and what alternates is added up in vector
registers, every eighth term in one, which blocks of every eighth term show. The larger of both
``p`` counts.

**The norm of many errors.** Let ``δ = Σ_k ε_k v_k`` with independent ``|ε_k| ≤ 1`` of mean zero.
Then ``E‖δ‖² ≤ Σ_k ‖v_k‖²``, the total variance. ``‖δ‖`` exceeds ``λ`` times its root with a chance
below ``2 exp(-λ²/2)``, as in one dimension, even if every error hangs on those before it (Pinelis
1994, Ann. Probab. 22, 1679). In many dimensions much less is true: the norm is a convex function of
the ``ε_k`` that changes by no more than ``σ = \|[v_1, v_2, …]\|_2``, the standard deviation along
the worst direction, and

.. math:: ‖δ‖ ≤ \sqrt{Σ_k ‖v_k‖^2} + 2 λ σ

but for a chance of ``exp(-λ²/2)`` (Boucheron, Lugosi & Massart 2013, Concentration Inequalities,
theorem 6.10, for variables in an interval of length 2). The lesser of the two is what is allowed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from pcbench.theory.rounding.bounds import CONFIDENCE

Matrix = Float[np.ndarray, "_rows _columns"]
Variances = TypeVar("Variances", float, Float[np.ndarray, " N"])

_BLOCKS = 8
"""Few, as one term a block would fear the worst order of all; short against usual structure."""


def rounded_product(
    a: Matrix, b: Matrix, bias: Float[np.ndarray, " _columns"] | None = None, inherited: float = 0.0
) -> tuple[Matrix, Matrix]:
    """Return ``a b + bias`` and the variance of its rounding in units of ``u²``, entry by entry.

    Each entry of ``a`` brings ``inherited`` roundings along.
    """
    products = a**2 @ b**2
    squares, largest = products, np.zeros_like(products)
    for blocks in _ways(a.shape[1]):
        total, absolute = np.zeros((2, *largest.shape))
        for block in blocks:
            part = a[:, block] @ b[block]
            total += part
            absolute += np.abs(part, out=part)
        if bias is not None:
            total += bias
            absolute += np.abs(bias)
        np.maximum(largest, (absolute + np.abs(total)) / 2, out=largest)
    terms = np.count_nonzero(a, axis=1)[:, None]
    if bias is not None:
        squares, terms = products + bias**2, terms + (bias != 0)
    additions = np.maximum(terms - 1, 0)
    variance: Matrix = additions * (largest**2 + squares / 2) + (1 + inherited**2) * products
    return total, variance


def rounded_sum(terms: Float[np.ndarray, "_rows n"]) -> Float[np.ndarray, " _rows"]:
    """Variance of the rounding of sums of products, all of one sign, in units of ``u²``."""
    n = terms.shape[1]
    variance: Float[np.ndarray, " _rows"] = n * np.sum(terms, axis=1) ** 2
    variance += (1 + n / 2) * np.sum(terms**2, axis=1)
    return variance


def _ways(n: int) -> list[list[slice]]:
    """Cut ``n`` terms into blocks, of neighbours and of every eighth."""
    if n <= _BLOCKS:
        return [[slice(i, i + 1) for i in range(n)]]
    edges = np.linspace(0, n, _BLOCKS + 1).astype(int)
    neighbours = [slice(start, stop) for start, stop in pairwise(edges)]
    return [neighbours, [slice(i, n, _BLOCKS) for i in range(_BLOCKS)]]


def norm_bound(total: Variances, worst: Variances) -> Variances:
    """Bound a norm by its total variance and the variance along the worst direction, ``σ²``."""
    root = np.sqrt(total)
    bound: Variances = np.minimum(CONFIDENCE * root, root + 2 * CONFIDENCE * np.sqrt(worst))
    return bound


def operator_norm_bound(matrix: Float[np.ndarray, "_rows _columns"]) -> float:
    """``‖A‖_2 ≤ ‖(Aᵀ A)²‖_F^{1/4}``: the eighth root of a sum of eighth powers, by two products.

    For a random square matrix of width 300 that is 1.4 times the norm.
    """
    rows, columns = matrix.shape
    gram = matrix.T @ matrix if rows > columns else matrix @ matrix.T
    return float(np.linalg.norm(gram @ gram) ** 0.25)


def scaled_norm_bounds(
    scales: Float[np.ndarray, "_N _rows"], matrix: Float[np.ndarray, "_rows _columns"]
) -> Float[np.ndarray, " _N"]:
    """``‖A_n‖_2 ≤ ‖A_n A_nᵀ‖_F^{1/2}`` of ``A_n = diag(s_n) A``, for every row ``s_n``."""
    squares = (matrix @ matrix.T) ** 2
    largest = np.maximum(np.abs(scales).max(axis=1), np.finfo(float).tiny)
    parts = (scales / largest[:, None]) ** 2
    bounds: Float[np.ndarray, " _N"] = largest * np.sum((parts @ squares) * parts, axis=1) ** 0.25
    return bounds
