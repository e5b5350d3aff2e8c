"""Arrays by name, products of layers, and the linear algebra that is needed everywhere.

Samples are rows. Names of dimensions are those of the package's docstring: in one call of a
function ``N``, ``d_0`` and ``d_L`` are the same wherever they occur; ``_d`` may be anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh

Inputs = Float[np.ndarray, "N d_0"]
"""``X``."""
Targets = Float[np.ndarray, "N d_L"]
"""``Y``, or what is like it: predictions, errors of the output."""
Units = Float[np.ndarray, "N _d"]
"""Activities, errors or forces of one layer."""
Weights = Sequence[Float[np.ndarray, "_out _inp"]]
"""``W_1 … W_L`` of dense layers."""
WeightGradients = list[Float[np.ndarray, "_out _inp"]]
"""One array a layer, in the shapes of ``W_1 … W_L``."""


def chain(weights: Weights, k: int, l: int) -> Float[np.ndarray, "d_k d_l_minus_1"]:
    """``W_{k:l}``, layers numbered from 1; needs ``1 ≤ l ≤ k + 1 ≤ L + 1``."""
    if not 1 <= l <= k + 1 <= len(weights) + 1:
        raise ValueError(f"W_{{{k}:{l}}} does not exist in a network of {len(weights)} layers")
    width = weights[l - 1].shape[1] if l <= len(weights) else weights[-1].shape[0]
    product = np.eye(width)
    for weight in weights[l - 1 : k]:
        product = weight @ product
    return product


def chains_from_output(weights: Weights) -> list[Float[np.ndarray, "d_L _d"]]:
    """``[W_{L:1}, W_{L:2}, …, W_{L:L+1} = I]``: every suffix product, ``L + 1`` of them."""
    products = [np.eye(weights[-1].shape[0])]
    for weight in reversed(weights):
        products.append(products[-1] @ weight)
    return products[::-1]


def solve(
    matrix: Float[np.ndarray, "n n"], right: Float[np.ndarray, "n _m"]
) -> Float[np.ndarray, "n _m"]:
    """``A⁻¹ B``; NaN where float64 finds ``A`` singular, and so no bound on rounding is finite."""
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return np.full_like(right, np.nan)


def spectral_norm(matrix: Float[np.ndarray, "_rows _columns"]) -> float:
    """``‖A‖_2``, from the smaller of the two Gram matrices; infinite where that overflows."""
    rows, columns = matrix.shape
    gram = matrix.T @ matrix if rows > columns else matrix @ matrix.T
    if not np.isfinite(gram).all():
        return float("inf")
    return float(np.sqrt(max(0.0, np.linalg.eigvalsh(gram)[-1])))


def chains_to_input(weights: Weights) -> list[Float[np.ndarray, "_d d_0"]]:
    """``[W_{0:1} = I, W_{1:1}, …, W_{L:1}]``: every prefix product, ``L + 1`` of them."""
    products = [np.eye(weights[0].shape[1])]
    for weight in weights:
        products.append(weight @ products[-1])
    return products


Vector = Float[np.ndarray, " n"]


def extreme_eigenvalue(
    product: Callable[[Vector], Vector],
    size: int,
    which: Literal["SA", "LA"],
    *,
    accuracy: float = 0.0,
    basis: int | None = None,
    start: Vector | None = None,
) -> float:
    """Return the least (``SA``) or the largest (``LA``) eigenvalue, that of a null space included.

    SciPy's ``eigsh`` (ARPACK) multiplies the vector that it starts from by the operator first. What
    lies in an exact null space is gone after that, so that an extreme eigenvalue of 0 is never
    found; and an operator that is zero leaves no vector to start from, which is an error there.
    Where all that was found lies on one side of 0, and 0 would be more extreme, the search is
    repeated with the operator shifted by what was found, ``θ``: a null space then has the
    eigenvalue ``θ``, and what was found ``2θ``. What is no more than rounding is returned as 0.

    The accuracy is relative to the eigenvalue, 0 for that of float64; ``basis`` vectors are kept
    between restarts. The start must not be orthogonal to what is sought; if not given it is random,
    but always the same: the number, and so every tolerance made from it, is reproducible.
    """
    if start is None:
        start = np.random.default_rng(0).standard_normal(size)
    image = product(start)
    if not image.any():
        return 0.0
    rounding = np.finfo(float).eps * size * float(np.linalg.norm(image) / np.linalg.norm(start))

    def search(shift: float, accuracy: float) -> float:
        def shifted(vector: Vector) -> Vector:
            flat = vector.ravel()
            return product(flat) + shift * flat if shift else product(flat)

        found = eigsh(
            LinearOperator((size, size), matvec=shifted, dtype=np.float64),
            k=1,
            which=which,
            v0=start,
            ncv=None if basis is None else min(size, basis),
            tol=accuracy,
            return_eigenvectors=False,
        )
        return float(found[0]) - shift

    found = search(0.0, accuracy)
    # What is found is off by the accuracy times its distance from -shift, at most twice itself.
    while found > 0 if which == "SA" else found < 0:
        again = search(found, accuracy / 2)
        if abs(again) > abs(found) / 2:
            break
        found = again if abs(again) > rounding else 0.0
    return found
