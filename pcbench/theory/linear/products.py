"""Products of layers, ``W_{k:l} = W_k W_{k-1} … W_l``, the identity where ``k < l`` (§1)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Weights


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
