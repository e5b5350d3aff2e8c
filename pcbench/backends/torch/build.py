"""From the specification of a network, and parameters, to layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pcbench.backends.torch.activation import activation
from pcbench.backends.torch.layer import Layer
from pcbench.backends.torch.maps import AffineMap, ConvolutionMap, Matrix
from pcbench.backends.torch.pooling import MaxPool
from pcbench.networks import Convolution, NetworkSpec


def make_layers(network: NetworkSpec, parameters: Sequence[Tensor]) -> list[Layer]:
    """Put ``φ`` where the network's convention has it.

    Parameters
    ----------
    network
        The network.
    parameters
        ``W_1 … W_L``, then ``b_1 … b_L`` where the network has biases.
    """
    phi, post = activation(network.activation), network.convention == "post"
    biases = parameters[network.n_layers :] if network.bias else [None] * network.n_layers
    layers = []
    for index, (shape, weight, bias) in enumerate(
        zip(network.layers, parameters[: network.n_layers], biases, strict=True)
    ):
        affine: AffineMap
        pool = None
        if isinstance(shape, Convolution):
            affine = ConvolutionMap(weight, bias, shape)
            pool = MaxPool(shape) if shape.pool > 1 else None
        else:
            affine = Matrix(weight, bias)
        before = None if post or index == 0 else phi
        after = phi if post and index < network.n_hidden else None
        layers.append(Layer(affine, before, after, pool))
    return layers
