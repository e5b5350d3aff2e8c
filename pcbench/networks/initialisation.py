"""Where in weight space a network stands: the usual initialisations, the origin, the saddles.

Weights are drawn on the host by NumPy in float64, so that every backend sees the same numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from pcbench.networks.specification import NetworkSpec

Weights = list[Float[np.ndarray, "_out ..."]]


class ImpossibleNetworkError(ValueError):
    """The network cannot stand at the point asked for; the message says why."""


class Initialisation(BaseModel, ABC):
    """A point, or a distribution of points, in weight space."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Draw the weights, ``(d_l, d_{l-1})`` each, first layer first.

        Raises
        ------
        ImpossibleNetworkError
            If a network of this shape has no such point.
        """

    def draw_biases(
        self, network: NetworkSpec, rng: np.random.Generator
    ) -> list[Float[np.ndarray, " _out"]]:
        """Draw the biases, one vector a layer: zeros. Empty where the network has none."""
        return [np.zeros(shape) for shape in network.bias_shapes]

    def check(self, network: NetworkSpec) -> None:
        """Refuse a network that has no such point.

        Raises
        ------
        ImpossibleNetworkError
            With the reason.
        """


class Origin(Initialisation):
    """All weights zero."""

    name: Literal["origin"] = "origin"

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Return zeros."""
        return [np.zeros(shape) for shape in network.shapes]


class NearOrigin(Initialisation):
    """``N(0, std²)`` for every weight."""

    name: Literal["near_origin"] = "near_origin"
    std: PositiveFloat = Field(0.005, description="σ, the same for all layers.")

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Draw every weight independently."""
        return [self.std * rng.standard_normal(shape) for shape in network.shapes]


class LecunNormal(Initialisation):
    """``N(0, 1/fan_in)``: keeps the variance of linear activities from layer to layer."""

    name: Literal["lecun_normal"] = "lecun_normal"

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Draw every weight independently."""
        return [rng.standard_normal(shape) / np.sqrt(fan_in(shape)) for shape in network.shapes]


class XavierNormal(Initialisation):
    """``N(0, 2/(fan_in + fan_out))`` (Glorot & Bengio 2010)."""

    name: Literal["xavier_normal"] = "xavier_normal"

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Draw every weight independently."""
        return [
            rng.standard_normal(shape) * np.sqrt(2 / (fan_in(shape) + fan_in(shape, of=1)))
            for shape in network.shapes
        ]


class KaimingUniform(Initialisation):
    """``U(-1/√fan_in, 1/√fan_in)``: what PyTorch and Equinox give a linear layer by default."""

    name: Literal["kaiming_uniform"] = "kaiming_uniform"

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Draw every weight independently."""
        return [rng.uniform(-1, 1, shape) / np.sqrt(fan_in(shape)) for shape in network.shapes]

    def draw_biases(
        self, network: NetworkSpec, rng: np.random.Generator
    ) -> list[Float[np.ndarray, " _out"]]:
        """Draw every bias from the distribution of its layer's weights."""
        return [
            rng.uniform(-1, 1, bias) / np.sqrt(fan_in(weight))
            for weight, bias in zip(network.shapes, network.bias_shapes, strict=False)
        ]


class Orthogonal(Initialisation):
    """Orthonormal rows or columns, Haar distributed, times ``gain`` (Saxe et al. 2014)."""

    name: Literal["orthogonal"] = "orthogonal"
    gain: PositiveFloat = 1.0

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Draw every layer independently."""
        return [
            self.gain * _orthogonal(shape[0], fan_in(shape), rng).reshape(shape)
            for shape in network.shapes
        ]


class PenultimateOnly(Initialisation):
    """A zero-rank saddle: all layers zero but ``W_{L-1}``, which is ``N(0, std²)``."""

    name: Literal["penultimate_only"] = "penultimate_only"
    std: PositiveFloat = 1.0

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Draw ``W_{L-1}``; the rest is zero."""
        self.check(network)
        weights = [np.zeros(shape) for shape in network.shapes]
        weights[-2] = self.std * rng.standard_normal(network.shapes[-2])
        return weights

    def check(self, network: NetworkSpec) -> None:
        """Refuse fewer than two hidden layers."""
        if network.n_hidden < 2:
            raise ImpossibleNetworkError(
                "a penultimate-only saddle needs at least 2 hidden layers: with fewer, the "
                "penultimate layer is the first, and W_(L-1:1) is not zero"
            )


class ZeroRank(Initialisation):
    """A zero-rank saddle in general position: ``W_L = 0``, ``W_{L-1:1} = 0``, no other layer zero.

    At a random hidden layer ``k`` of at least two units, ``W_k`` is made to reach only a random
    subspace of random rank, and ``W_{k+1}`` to send that subspace to zero; all layers but ``W_L``
    are otherwise ``N(0, 1/fan_in)``. ``W_{L-1:1}`` is then zero up to rounding.
    """

    name: Literal["zero_rank"] = "zero_rank"

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Draw the layers, the split ``k`` and the subspace."""
        self.check(network)
        weights = LecunNormal().draw(network, rng)
        weights[-1] = np.zeros(network.shapes[-1])
        k = int(rng.choice(self._splits(network)))
        width = network.widths[k]
        basis = _orthogonal(width, width, rng)
        rank = int(rng.integers(1, width))
        reached, cleared = basis[:, :rank], basis[:, rank:]
        weights[k - 1] = reached @ (reached.T @ weights[k - 1])
        weights[k] = (weights[k] @ cleared) @ cleared.T
        return weights

    def check(self, network: NetworkSpec) -> None:
        """Refuse networks where ``W_{L-1:1} = 0`` would make a whole layer zero."""
        if not self._splits(network):
            raise ImpossibleNetworkError(
                "a general zero-rank saddle needs a hidden layer of at least 2 units before the "
                "last hidden layer: without one, W_(L-1:1) = 0 makes a whole layer zero"
            )

    @staticmethod
    def _splits(network: NetworkSpec) -> list[int]:
        # Hidden layer k lies between W_k and W_{k+1}, both of which belong to W_{L-1:1}.
        return [k for k in range(1, network.n_layers - 1) if network.widths[k] > 1]


def fan_in(shape: tuple[int, ...], of: int = 0) -> int:
    """Inputs of one unit; with ``of=1`` its fan-out, outputs that one input reaches."""
    return prod(shape) // shape[of]


def _orthogonal(out: int, inp: int, rng: np.random.Generator) -> Float[np.ndarray, "out inp"]:
    """Haar-distributed: Q of a Gaussian matrix, signs fixed by R's diagonal (Mezzadri 2007)."""
    tall = rng.standard_normal((max(out, inp), min(out, inp)))
    q, r = np.linalg.qr(tall)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return q if out >= inp else q.T
