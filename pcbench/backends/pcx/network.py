"""A network of PCX's modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import pcx
import pcx.nn as pxnn
import pcx.predictive_coding as pxc
from jaxtyping import Float

from pcbench.backends._on_jax.activation import from_table, leaky_relu
from pcbench.networks import NetworkSpec

_ACTIVATIONS = {
    "identity": lambda z: z,
    "tanh": jax.nn.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": leaky_relu,  # which JAX's own is not at 0
    "silu": jax.nn.silu,
}


class Network(pxc.EnergyModule):
    """``Linear`` layers, an activation, and a ``Vode`` after each layer.

    Parameters
    ----------
    network
        The specification.
    parameters
        ``W_1 … W_L``, then ``b_1 … b_L`` where the network has biases.
    """

    def __init__(self, network: NetworkSpec, parameters: Sequence[Float[jax.Array, "..."]]) -> None:
        super().__init__()
        weights, biases = parameters[: network.n_layers], parameters[network.n_layers :]
        name = network.activation
        self.phi = pcx.static(_ACTIVATIONS.get(name) or from_table(name))
        self.post = pcx.static(network.convention == "post")
        keys = pcx.RandomKeyGenerator(0)  # PCX's own has the time for its seed
        self.layers = [
            pxnn.Linear(*weight.shape[::-1], bias=network.bias, rkg=keys) for weight in weights
        ]
        for index, (layer, weight) in enumerate(zip(self.layers, weights, strict=True)):
            layer.nn.weight.set(weight)
            if network.bias:
                layer.nn.bias.set(biases[index])
        self.vodes = [pxc.Vode() for _ in weights]
        self.vodes[-1].h.frozen = True  # which inference leaves alone

    def __call__(self, x: Any) -> Any:
        """Pass one sample through the layers; each goes on from its ``Vode``'s value."""
        last = len(self.layers) - 1
        for index, (layer, vode) in enumerate(zip(self.layers, self.vodes, strict=True)):
            before = self.phi(x) if index and not self.post.get() else x
            u = layer(before)
            x = vode(self.phi(u) if index < last and self.post.get() else u)
        return self.vodes[-1].get("u")

    def parameters(self) -> list[Float[jax.Array, "..."]]:
        """Return the weights, then the biases; of gradients in this form, theirs."""
        biases = [layer.nn.bias for layer in self.layers if layer.nn.bias is not None]
        return [*(layer.nn.weight.get() for layer in self.layers), *(b.get() for b in biases)]
