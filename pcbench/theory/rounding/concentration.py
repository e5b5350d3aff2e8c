r"""How large the norm of many rounding errors gets (§4.1).

Let ``δ = Σ_k ε_k v_k`` with independent ``|ε_k| ≤ 1`` of mean zero. Then ``E‖δ‖² ≤ Σ_k ‖v_k‖²``,
the total variance. ``‖δ‖`` exceeds ``λ`` times its root with a chance below ``2 exp(-λ²/2)``, as in
one dimension, even if every error hangs on those before it (Pinelis 1994, Ann. Probab. 22, 1679).
In many dimensions much less is true: the norm is a convex function of the ``ε_k`` that changes by
no more than ``σ = \|[v_1, v_2, …]\|_2``, the standard deviation along the worst direction, and

.. math:: ‖δ‖ ≤ \sqrt{Σ_k ‖v_k‖^2} + 2 λ σ

but for a chance of ``exp(-λ²/2)`` (Boucheron, Lugosi & Massart 2013, Concentration Inequalities,
theorem 6.10, for variables in an interval of length 2). The lesser of the two is what is allowed.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from jaxtyping import Float

from pcbench.theory.rounding.bounds import CONFIDENCE

Variances = TypeVar("Variances", float, Float[np.ndarray, " N"])


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
