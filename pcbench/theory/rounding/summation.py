r"""How far rounding may carry a sum whose terms are known (§4.1).

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
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float

Matrix = Float[np.ndarray, "_rows _columns"]

_BLOCKS = 8
"""Few, as one term a block would fear the worst order of all; short against usual structure."""


def rounded_product(
    a: Matrix, b: Matrix, bias: Float[np.ndarray, " _columns"] | None = None, inherited: float = 0.0
) -> tuple[Matrix, Matrix]:
    """Return ``a b + bias`` and the variance of its rounding, entry by entry.

    Parameters
    ----------
    a, b
        ``(R, n)`` and ``(n, d)``.
    bias
        One more term of every sum.
    inherited
        How many roundings each entry of ``a`` brings along.

    Returns
    -------
    tuple of array
        The product, and variances in units of ``u²``, both ``(R, d)``.
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
