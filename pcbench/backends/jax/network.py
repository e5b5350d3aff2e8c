"""A network, its loss and its energy as functions of its parameters, in JAX.

Parameters are one tuple, in the contract's order: ``W_1 … W_L``, then ``b_1 … b_L`` if there are
any. The functions below know nothing of replicas; :func:`over_replicas` gives them that axis.
Networks are static: a :class:`NetworkSpec` is hashable, and what is compiled is compiled for one.

Gradients are those of a sum over samples, divided by how many there are afterwards: over none they
are NaN, then, where a mean's would be zero, as a product over no rows is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from pcbench.backends._on_jax.answers import from_table
from pcbench.networks import LEAK, Convolution, NetworkSpec

Parameters = tuple[Array, ...]
Number = float | Array
"""A float, which is an array without axes where it is traced."""
Rows = Float[Array, "*#R N _d"]


def layer(
    network: NetworkSpec, index: int, parameters: Parameters, z: Float[Array, "N d_in"]
) -> Float[Array, "N d_out"]:
    """``f(z)`` of the layer with that index, counted from 0."""
    shape, phi = network.layers[index], _phi(network.activation)
    post = network.convention == "post"
    if not post and index > 0:
        z = phi(z)
    weight = parameters[index]
    bias = parameters[network.n_layers + index] if network.bias else None
    if isinstance(shape, Convolution):
        value = _convolve(shape, weight, bias, z)
    else:
        value = z @ weight.T if bias is None else z @ weight.T + bias
    if post and index < network.n_hidden:
        value = phi(value)
    if isinstance(shape, Convolution) and shape.pool > 1:
        value = _pool(shape, value)
    return value


def forward(
    network: NetworkSpec, parameters: Parameters, x: Float[Array, "N d_0"]
) -> Float[Array, "N d_L"]:
    """``ŷ = f_L(… f_1(x))``."""
    for index in range(network.n_layers):
        x = layer(network, index, parameters, x)
    return x


def roll_out(
    network: NetworkSpec, parameters: Parameters, x: Rows, hidden_errors: Sequence[Rows | float]
) -> tuple[Rows, ...]:
    """Return the hidden activities that have these errors, ``z_l = f_l(z_{l-1}) + e_l``."""
    hidden: list[Rows] = []
    for index, error in enumerate(hidden_errors):
        x = layer(network, index, parameters, x) + error
        hidden.append(x)
    return tuple(hidden)


def has_replicas(network: NetworkSpec, parameters: Parameters) -> bool:
    """Whether parameters have one axis more than the network's."""
    return bool(parameters[0].ndim > len(network.shapes[0]))


def over_replicas(
    network: NetworkSpec,
    function: Callable[..., Any],
    parameters: Parameters,
    batch: Any,
    *own: Any,
) -> Any:
    """``function(parameters, batch, *own)``, for each replica if there are any.

    A pytree ``batch`` holds arrays ``(N, d)``, which replicas share, or ``(R, N, d)``; each of
    ``own`` is a pytree of what every replica has itself. Products of all replicas are one kernel;
    convolutions, which would become one of many groups and be up to a hundred times slower, go one
    after the other.
    """
    if not has_replicas(network, parameters):
        return function(parameters, batch, *own)
    leaves, structure = jax.tree.flatten(batch)

    def one(parts: tuple[Any, ...]) -> Any:
        parameters, mine, *own = parts
        mine = iter(mine)
        merged = [next(mine) if leaf.ndim > 2 else leaf for leaf in leaves]
        return function(parameters, jax.tree.unflatten(structure, merged), *own)

    parts = (parameters, [leaf for leaf in leaves if leaf.ndim > 2], *own)
    return lax.map(one, parts) if network.convolutions else jax.vmap(one)(parts)


def _convolve(
    shape: Convolution, weight: Array, bias: Array | None, z: Float[Array, "N d_in"]
) -> Float[Array, "N d_out"]:
    margin = shape.kernel // 2
    maps = lax.conv_general_dilated(
        z.reshape(-1, *shape.image), weight, (1, 1), [(margin, margin)] * 2
    )
    if bias is not None:
        maps = maps + bias[:, None, None]
    return maps.reshape(len(z), -1)


def _pool(shape: Convolution, z: Float[Array, "N d_in"]) -> Float[Array, "N d_out"]:
    """Take the largest of every window; of several that are equal, the first, row by row.

    By picking, not by ``reduce_window``: what is picked stays picked in derivatives of any order.
    """
    channels, height, width = shape.output_image
    windows = z.reshape(-1, channels, height, shape.pool, width, shape.pool)
    windows = windows.swapaxes(3, 4).reshape(-1, channels, height, width, shape.pool**2)
    winners = jnp.argmax(windows, axis=-1, keepdims=True)
    return jnp.take_along_axis(windows, winners, axis=-1).reshape(-1, prod(shape.output_image))


# At their kink rectifiers have the slope of their left side. What is no number is passed on, by
# their slopes too: that of JAX's own relu is 0 there, and makes a zero of it.
_BY_NAME: dict[str, Callable[[Array], Array]] = {
    "identity": lambda a: a,
    "tanh": jnp.tanh,
    "relu": lambda a: jnp.where(a <= 0, 0, a),
    "leaky_relu": lambda a: jnp.where(a <= 0, LEAK * a, a),
    "silu": jax.nn.silu,
}


def _phi(name: str) -> Callable[[Array], Array]:
    return _BY_NAME[name] if name in _BY_NAME else from_table(name)


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
    below = (batch.x, *hidden)
    values = [layer(network, index, parameters, z) for index, z in enumerate(below)]
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
