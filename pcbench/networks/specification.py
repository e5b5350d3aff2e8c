"""What is studied: the shape of a network and its layers, free of any framework.

Every layer maps flat activities to flat activities, ``(N, d_{l-1})`` to ``(N, d_l)``; an image is
flattened channel by channel, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal

from pcbench.networks.activations import ActivationName

Image = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True, slots=True)
class Dense:
    """Every output sees every input: ``W z``."""

    inputs: int
    outputs: int

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``(d_l, d_{l-1})``."""
        return self.outputs, self.inputs


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution of stride 1 that keeps height and width, then max pooling.

    The image is padded with ``(kernel - 1) / 2`` zeros. As in all of deep learning the kernel is
    not flipped: strictly a cross-correlation. Pooling windows do not overlap.
    """

    image: Image
    channels: int  # of the output
    kernel: int = 3  # side of the square kernel, odd
    pool: int = 1  # side of the pooling windows; 1 pools nothing

    def __post_init__(self) -> None:
        _, height, width = self.image
        if self.kernel % 2 == 0:
            raise ValueError(f"a kernel of side {self.kernel} has no centre; make it odd")
        if height % self.pool or width % self.pool:
            raise ValueError(
                f"images of {height} × {width} do not divide into windows of {self.pool} × "
                f"{self.pool}; choose another pool"
            )

    @property
    def output_image(self) -> Image:
        """Channels, height and width of what comes out."""
        _, height, width = self.image
        return self.channels, height // self.pool, width // self.pool

    @property
    def inputs(self) -> int:
        """``d_{l-1}``."""
        return prod(self.image)

    @property
    def outputs(self) -> int:
        """``d_l``."""
        return prod(self.output_image)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``(channels out, channels in, kernel, kernel)``."""
        return self.channels, self.image[0], self.kernel, self.kernel


Layer = Dense | Convolution
Convention = Literal["post", "pre"]


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network of convolutions, if any, and then fully connected layers.

    The convention says where ``φ`` sits. ``post``: ``f_l(z) = φ(W_l z + b_l)``, output ``f_L(z) =
    W_L z + b_L``. ``pre``: ``f_1(z) = W_1 z + b_1``, then ``f_l(z) = W_l φ(z) + b_l``. The two
    agree for ``identity``. A convolution pools last: ``pool(φ(W_l * z + b_l))``, or without ``φ``.
    """

    widths: tuple[int, ...]  # (d_0, …, d_L): input, hidden layers, output
    activation: ActivationName = "identity"  # φ, applied at every hidden layer
    convention: Convention = "post"
    bias: bool = False  # without, biases are zero and no parameters
    convolutions: tuple[Convolution, ...] = ()  # the first layers, of the first hidden widths

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
        return tuple(shape[:1] for shape in self.shapes) if self.bias else ()

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(prod(shape) for shape in self.shapes + self.bias_shapes)

    def __str__(self) -> str:
        return "-".join(map(str, self.widths))
