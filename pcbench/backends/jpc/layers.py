"""From the specification of a network, and parameters, to JPC's layers, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jpc
from jaxtyping import Float

from pcbench.backends._on_jax.activation import from_table, leaky_relu
from pcbench.networks import NetworkSpec


def make_layers(
    network: NetworkSpec, parameters: Sequence[Float[jax.Array, "..."]]
) -> list[eqx.nn.Sequential]:
    """Make layers as ``make_mlp`` does, of any widths, with ``φ`` where the convention has it.

    Parameters
    ----------
    network
        The network.
    parameters
        ``W_1 … W_L``, then ``b_1 … b_L`` where the network has biases.
    """
    weights, biases = parameters[: network.n_layers], parameters[network.n_layers :]
    identity = eqx.nn.Lambda(jpc.get_act_fn("linear"))
    match network.activation:
        case "identity":
            phi = identity
        case "leaky_relu":  # JPC's is JAX's own, whose slope at 0 is another
            phi = eqx.nn.Lambda(leaky_relu)
        case "tanh" | "relu" | "silu" as name:
            phi = eqx.nn.Lambda(jpc.get_act_fn(name))
        case name:
            phi = eqx.nn.Lambda(from_table(name))
    layers = []
    for index, weight in enumerate(weights):
        outputs, inputs = weight.shape
        linear = eqx.nn.Linear(
            inputs, outputs, use_bias=network.bias, dtype=weight.dtype, key=jax.random.key(0)
        )
        linear = eqx.tree_at(lambda part: part.weight, linear, weight)
        if network.bias:
            linear = eqx.tree_at(lambda part: part.bias, linear, biases[index])
        if network.convention == "pre":
            parts = [phi if index else identity, linear]
        else:
            parts = [linear, phi if index < network.n_hidden else identity]
        layers.append(eqx.nn.Sequential(parts))
    return layers


def parameters_of(layers: Any) -> list[Any]:  # of arrays, or of what equinox puts for them
    """Return the weights of layers, or of gradients in their form, then the biases."""
    linear = [part for layer in layers for part in layer if hasattr(part, "weight")]
    biases = [part.bias for part in linear if part.bias is not None]
    return [*(part.weight for part in linear), *biases]
