r"""The equilibrated energy along a straight line in weight space, as a power series (§2.1, §2.6).

Along ``W_l + t V_l`` the products of Theorem 1 are polynomials in ``t``. Multiplying out, and
solving ``S(t) U(t) = R(t)`` order by order,

.. math::
    U_k = S_0^{-1} \Bigl( R_k - \sum_{j=1}^{k} S_j U_{k-j} \Bigr), \qquad
    𝓕^*(t) = \frac{1}{2N} \sum_k t^k \sum_{i+j=k} \langle R_i, U_j \rangle ,

gives derivatives of any order without a difference. Everything is done in the dtype of what comes
in, ``longdouble`` included, for which NumPy has no linear algebra; what it is used for are outputs
of a few dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

from pcbench.theory.linear.equilibrium import output_covariance_norm
from pcbench.theory.rounding.bounds import CONFIDENCE

# Not ``Float``: jaxtyping does not know numpy.longdouble by its platform's name.
Matrix = Shaped[np.ndarray, "_rows _columns"]


def energy_series(
    weights: Sequence[Matrix],
    directions: Sequence[Matrix],
    x: Shaped[np.ndarray, "N d_0"],
    y: Shaped[np.ndarray, "N d_L"],
    order: int,
) -> Shaped[np.ndarray, " order_plus_1"]:
    """Coefficients of ``𝓕*`` at ``W_l + t V_l``: of ``t⁰ … t^order``, in the dtype of the weights.

    Parameters
    ----------
    weights, directions
        ``W_l`` and ``V_l``, one a layer, in equal shapes and of one real dtype.
    x, y
        The batch, in that dtype.
    order
        The highest power, at least 0.
    """
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
    inputs, targets = _long([x, y])
    return 2 * float(energy_series(_long(weights), _long(directions), inputs, targets, 2)[2])


def curvature_rounding(weights: Sequence[Matrix], curvature: float) -> float:
    """Bound the rounding of :func:`curvature_along` where no curvature is larger than this.

    ``S ⪰ I`` is solved with a condition number of ``λ_max(S)`` at most, in longdouble: which is
    float64 on some machines.
    """
    condition = output_covariance_norm(weights)
    return CONFIDENCE * float(np.finfo(np.longdouble).eps) / 2 * condition * curvature


def _long(parts: Sequence[Matrix]) -> list[Matrix]:
    return [np.asarray(part, np.longdouble) for part in parts]


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
