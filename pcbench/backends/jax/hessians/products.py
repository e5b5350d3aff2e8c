"""Many vectors at once, in blocks that bound memory, of every replica."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from pcbench.backends.jax.network import Number, Parameters, over_replicas
from pcbench.backends.jax.objectives import Batch
from pcbench.backends.jax.runtime import Runtime
from pcbench.contract.model import Hessian
from pcbench.networks import NetworkSpec

# Vectors are multiplied in blocks whose largest intermediate stays near this many numbers.
_BLOCK_NUMBERS = 4_000_000

Vectors = Float[Array, "*R K P"]
Product = Callable[..., tuple[Parameters, Array]]
"""``(network, parameters, batch, prepared, numbers, direction)`` to a product and a residual."""


class JaxHessian(Hessian[Array]):
    """Multiplies by a pure function of one direction.

    Parameters
    ----------
    product
        Static: hashable, and compiled for.
    prepared
        What the product needs that every replica has of its own.
    numbers
        What it needs that is only computed with.
    """

    def __init__(
        self,
        product: Product,
        network: NetworkSpec,
        parameters: Parameters,
        batch: Batch,
        runtime: Runtime,
        prepared: Any = (),
        numbers: tuple[Number, ...] = (),
    ) -> None:
        self.residual = 0.0
        self._product, self._runtime = product, runtime
        self._network, self._asked = network, (parameters, batch, prepared, numbers)
        largest = max(network.n_parameters, batch.x.shape[-2] * max(network.widths))
        replicas = parameters[0].size // prod(network.shapes[0])
        self._block = max(1, _BLOCK_NUMBERS // (replicas * largest))

    def product(self, vectors: Vectors) -> Vectors:
        """Multiply every row, and take note of the worst residual."""
        if not vectors.shape[-2]:
            return vectors
        block = min(self._block, vectors.shape[-2])
        products, residual = self._runtime.run(
            _multiply, self._network, self._product, block, *self._asked, vectors
        )
        left = float(residual)
        if not left <= self.residual:  # what is no number is worse than any
            self.residual = left
        return products


def _every_row(
    network: NetworkSpec,
    product: Product,
    block: int,
    parameters: Parameters,
    batch: Batch,
    prepared: Any,
    numbers: tuple[Number, ...],
    vectors: Vectors,
) -> tuple[Vectors, Float[Array, ""]]:
    def replica(
        parameters: Parameters, batch: Batch, prepared: Any, vectors: Array
    ) -> tuple[Array, Array]:
        def one(vector: Array) -> tuple[Array, Array]:
            direction = _split(network, vector)
            moved, left = product(network, parameters, batch, prepared, numbers, direction)
            return jnp.concatenate([part.reshape(-1) for part in moved]), left

        together = jax.vmap(one)
        moved: tuple[Array, Array] = (
            together(vectors) if len(vectors) <= block else lax.map(one, vectors, batch_size=block)
        )
        return moved

    products, residuals = over_replicas(network, replica, parameters, batch, prepared, vectors)
    return products, residuals.max()


def _split(network: NetworkSpec, vector: Float[Array, "P"]) -> Parameters:
    """Take a vector over all parameters apart."""
    parts, at = [], 0
    for shape in (*network.shapes, *network.bias_shapes):
        parts.append(vector[at : at + prod(shape)].reshape(shape))
        at += prod(shape)
    return tuple(parts)


_multiply = jax.jit(_every_row, static_argnums=(0, 1, 2))
