"""What is studied: the shape of a network, free of any framework."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal

from pcbench.networks.activations import ActivationName
from pcbench.networks.layers import Convolution, Dense, Layer

Convention = Literal["post", "pre"]


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network of convolutions, if any, and then fully connected layers.

    Parameters
    ----------
    widths
        ``(d_0, …, d_L)``: input, hidden layers, output; at least two entries, all positive.
    activation
        ``φ``, applied at every hidden layer, by its name in ``pcbench.networks.activations``.
    convention
        Where ``φ`` sits. ``post``: ``f_l(z) = φ(W_l z + b_l)``, output ``f_L(z) = W_L z + b_L``.
        ``pre``: ``f_1(z) = W_1 z + b_1``, then ``f_l(z) = W_l φ(z) + b_l``. The two agree for
        ``identity``. A convolution pools last: ``pool(φ(W_l * z + b_l))``, or without ``φ``.
    bias
        Whether layers have biases ``b_l``; without, they are zero and no parameters.
    convolutions
        The first layers, where they are convolutions; their outputs are the first hidden widths.

    Raises
    ------
    ValueError
        If the widths are no network, or do not fit the convolutions.
    """

    widths: tuple[int, ...]
    activation: ActivationName = "identity"
    convention: Convention = "post"
    bias: bool = False
    convolutions: tuple[Convolution, ...] = ()

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError(f"widths {self.widths} are not an input, hidden layers and an output")
        if len(self.convolutions) >= self.n_layers:
            raise ValueError("the output layer is fully connected; give fewer convolutions")
        for layer, (inputs, outputs) in zip(self.convolutions, pairwise(self.widths), strict=False):
            if (layer.inputs, layer.outputs) != (inputs, outputs):
                raise ValueError(
                    f"a convolution from {layer.inputs} to {layer.outputs} does not fit between "
                    f"widths {inputs} and {outputs}"
                )

    @property
    def n_layers(self) -> int:
        """``L``, the number of layers with weights."""
        return len(self.widths) - 1

    @property
    def n_hidden(self) -> int:
        """``H = L - 1``, the number of hidden layers."""
        return self.n_layers - 1

    @property
    def is_linear(self) -> bool:
        """Whether the network is a product of matrices."""
        return self.activation == "identity" and not self.bias and not self.convolutions

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, first layer first."""
        dense = [Dense(inputs, outputs) for inputs, outputs in pairwise(self.widths)]
        return *self.convolutions, *dense[len(self.convolutions) :]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of the weights of every layer: ``(d_l, d_{l-1})`` where fully connected."""
        return tuple(layer.weight_shape for layer in self.layers)

    @property
    def bias_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of the biases of every layer; empty where there are none."""
        return tuple(layer.bias_shape for layer in self.layers) if self.bias else ()

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(prod(shape) for shape in self.shapes + self.bias_shapes)

    def __str__(self) -> str:
        return "-".join(map(str, self.widths))
