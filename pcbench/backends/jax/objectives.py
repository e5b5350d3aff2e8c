"""Loss, energy and their gradients, as pure functions.

Gradients are those of a sum over samples, divided by how many there are afterwards: over none they
are no numbers, then, where a mean's would be zero, as a product over no rows is.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from pcbench.backends.jax.network import Parameters, Rows, forward, predictions
from pcbench.networks import NetworkSpec


class Batch(NamedTuple):
    """Inputs, targets, and how much each output counts.

    Where the precision is 0, what stands in ``y`` is not used.
    """

    x: Rows
    y: Rows
    precision: Rows | None

    def output_error(self, prediction: Rows) -> Rows:
        """``y - ŷ``; 0 where the output is not observed."""
        if self.precision is None:
            return self.y - prediction
        return jnp.where(self.precision > 0, self.y - prediction, 0)

    def weigh(self, output_error: Rows) -> Rows:
        """``π e_L``."""
        return output_error if self.precision is None else output_error * self.precision


def loss(network: NetworkSpec, parameters: Parameters, batch: Batch) -> Float[Array, ""]:
    """``𝓛 = 1/(2N) Σ_n (y - ŷ)ᵀ Π (y - ŷ)``."""
    return _half_squares(network, parameters, batch) / len(batch.x)


def loss_and_gradients(
    network: NetworkSpec, parameters: Parameters, batch: Batch
) -> tuple[Float[Array, ""], Parameters]:
    """``𝓛`` and its gradient in every parameter."""
    summed = jax.value_and_grad(lambda p: _half_squares(network, p, batch))(parameters)
    value, gradients = jax.tree.map(lambda total: total / len(batch.x), summed)
    return value, gradients


def _half_squares(network: NetworkSpec, parameters: Parameters, batch: Batch) -> Float[Array, ""]:
    """``N 𝓛``."""
    error = batch.output_error(forward(network, parameters, batch.x))
    return (error * batch.weigh(error)).sum() / 2


def errors(
    network: NetworkSpec, parameters: Parameters, batch: Batch, hidden: tuple[Rows, ...]
) -> tuple[Rows, ...]:
    """``e_l = z_l - f_l(z_{l-1})`` for ``l = 1 … L``, the output clamped."""
    values = predictions(network, parameters, (batch.x, *hidden))
    inner = (z - value for z, value in zip(hidden, values, strict=False))
    return (*inner, batch.output_error(values[-1]))


def energies(batch: Batch, errors: tuple[Rows, ...]) -> Float[Array, "*R L"]:
    """``1/(2N) Σ_n ‖e_l‖²`` of every layer."""
    return _squares(batch, errors) / (2 * batch.x.shape[-2])


def _squares(batch: Batch, errors: tuple[Rows, ...]) -> Float[Array, "*R L"]:
    """``Σ_n ‖e_l‖²`` of every layer."""
    forces = (*errors[:-1], batch.weigh(errors[-1]))
    squares = [(e * force).sum((-2, -1)) for e, force in zip(errors, forces, strict=True)]
    return jnp.stack(squares, axis=-1)


def energy(
    network: NetworkSpec, parameters: Parameters, batch: Batch, hidden: tuple[Rows, ...]
) -> Float[Array, ""]:
    """``𝓕``, the sum over the layers."""
    return energies(batch, errors(network, parameters, batch, hidden)).sum()


def energy_gradients(
    network: NetworkSpec, parameters: Parameters, batch: Batch, hidden: tuple[Rows, ...]
) -> Parameters:
    """``∂𝓕/∂θ`` at fixed activities: local, since each prediction is of one layer."""

    def half_squares(parameters: Parameters) -> Float[Array, ""]:
        return _squares(batch, errors(network, parameters, batch, hidden)).sum() / 2

    summed: Parameters = jax.grad(half_squares)(parameters)
    means: Parameters = jax.tree.map(lambda total: total / len(batch.x), summed)
    return means
