"""Products with the derivative of JPC's gradients."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from pcbench.backends._on_jax.settled import settled
from pcbench.backends.jpc.layers import parameters_of
from pcbench.contract.model import Hessian

_AT_ONCE = 32
"""Products that are made side by side: more take more memory, and hardly less time."""


class JpcHessian(Hessian[jax.Array]):
    """``v ↦ ∂g(θ + εv)/∂ε`` at ``ε = 0``, by JAX's forward mode.

    Parameters
    ----------
    gradients
        ``g``: from layers and a batch to gradients in the form of layers.
    layers
        JPC's, with the parameters ``θ``.
    x, y
        The batch.
    computing
        The surroundings that products are made in.
    """

    residual = 0.0

    def __init__(
        self,
        gradients: Callable[..., Any],
        layers: Any,
        x: Float[jax.Array, "N d_0"],
        y: Float[jax.Array, "N d_L"],
        computing: Callable[..., Any],
    ) -> None:
        self._given, self._computing = (gradients, layers, x, y), computing

    @settled
    def product(self, vectors: Float[jax.Array, "K P"]) -> Float[jax.Array, "K P"]:
        """Multiply vectors, a row each."""
        with self._computing():
            return _products(*self._given, vectors)


@eqx.filter_jit
def _products(gradients: Callable[..., Any], layers: Any, x: Any, y: Any, vectors: Any) -> Any:
    parameters = parameters_of(layers)
    ends = list(accumulate(parameter.size for parameter in parameters))[:-1]

    def slope(moved: list[Any]) -> list[Any]:
        return parameters_of(gradients(eqx.tree_at(parameters_of, layers, moved), x, y))

    def product(vector: Any) -> Any:
        parts = jnp.split(vector, ends)
        moves = [
            part.reshape(parameter.shape) for part, parameter in zip(parts, parameters, strict=True)
        ]
        _, changes = jax.jvp(slope, (parameters,), (moves,))
        return jnp.concatenate([change.ravel() for change in changes])

    return jax.lax.map(product, vectors, batch_size=_AT_ONCE)
