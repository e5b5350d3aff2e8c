"""From the specification of a network, and parameters, to layers; and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pcbench.backends.numpy.activation import IDENTITY, phi
from pcbench.backends.numpy.layers import Layer
from pcbench.backends.numpy.maps import AffineMap, Entries
from pcbench.networks import NetworkSpec


def make_layers(network: NetworkSpec, parameters: Sequence[Entries]) -> list[Layer]:
    """Put ``φ`` where the network's convention has it.

    Parameters
    ----------
    network
        The network.
    parameters
        ``W_1 … W_L``, then ``b_1 … b_L`` where the network has biases.
    """
    bent, last = phi(network.activation), network.n_layers - 1
    weights, biases = split(network.n_layers, parameters)
    layers = []
    for index, (shape, weight, bias) in enumerate(
        zip(network.layers, weights, biases, strict=True)
    ):
        before = after = IDENTITY
        if network.convention == "pre" and index > 0:
            before = bent
        if network.convention == "post" and index < last:
            after = bent
        layers.append(Layer(AffineMap.of(shape, weight, bias), before, after))
    return layers


def split(
    depth: int, parameters: Sequence[Entries]
) -> tuple[Sequence[Entries], Sequence[Entries | None]]:
    """Take weights and biases apart; a ``None`` a layer where there are no biases."""
    nothing: list[Entries | None] = [None] * depth
    return parameters[:depth], parameters[depth:] or nothing


def along(layers: Sequence[Layer], parameters: Sequence[Entries]) -> list[Layer]:
    """Return the layers with other parameters."""
    return [
        layer.along(weight, bias)
        for layer, weight, bias in zip(layers, *split(len(layers), parameters), strict=True)
    ]


def parameters_of(layers: Iterable[Layer]) -> list[Entries]:
    """``W_1 … W_L``, then ``b_1 … b_L`` where there are biases."""
    return in_order((layer.affine.weight, layer.affine.bias) for layer in layers)


def in_order(pairs: Iterable[tuple[Entries, Entries | None]]) -> list[Entries]:
    """From a weight and a bias a layer to all weights, then all biases."""
    pairs = list(pairs)
    return [weight for weight, _ in pairs] + [bias for _, bias in pairs if bias is not None]
