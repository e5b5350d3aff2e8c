"""The output's side of a linear or linearised network: one small system with the precision.

With ``K`` the reach of the hidden errors to the output, ``T = K Kᵀ`` and ``Π = P²``, the matrix
``I + θ Kᵀ Π K`` of a least-squares problem in the hidden errors is inverted by way of its outputs
(Woodbury): ``(I + θ Kᵀ Π K)⁻¹ = I - θ Kᵀ P (I + θ P T P)⁻¹ P K``.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Float


def output_force(
    through: Float[Array, "*N d_L d_L"],
    right: Float[Array, "*N d_L"],
    precision: Float[Array, "*N d_L"] | None,
    theta: Float[Array, "*N 1"] | float = 1.0,
) -> Float[Array, "*N d_L"]:
    """``P (I + θ P T P)⁻¹ P`` times the right-hand side, of every sample.

    Symmetric, and indifferent to a precision of 0. What cannot be factorised, because weights
    overflowed, comes out as NaN.
    """
    system = through * (theta if isinstance(theta, float) else theta[..., None])
    root = None if precision is None else jnp.sqrt(precision)
    if root is not None:
        system, right = root[..., :, None] * system * root[..., None, :], root * right
    factor = cho_factor(system + jnp.eye(system.shape[-1], dtype=system.dtype), lower=True)
    solved = cho_solve(factor, right[..., None])[..., 0]
    return solved if root is None else root * solved
