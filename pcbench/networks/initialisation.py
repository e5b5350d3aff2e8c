"""Where in weight space a network stands: initialisations, the origin, saddles, a saved point.

Weights are drawn on the host by NumPy in float64, so that every backend sees the same numbers.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Shaped
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat, PrivateAttr

from pcbench.networks.specification import NetworkSpec

Array = Float[np.ndarray, "_out ..."]
Weights = list[Array]
Biases = list[Float[np.ndarray, " _out"]]
Shape = tuple[int, ...]


class ImpossibleNetworkError(ValueError):
    """The network cannot stand at the point asked for; the message says why."""


class Initialisation(BaseModel, ABC):
    """A point, or a distribution of points, in weight space."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Draw the weights, ``(d_l, d_{l-1})`` each, first layer first.

        Raises an ``ImpossibleNetworkError`` if a network of this shape has no such point.
        """

    def draw_biases(self, network: NetworkSpec, rng: np.random.Generator) -> Biases:
        """Draw the biases, one vector a layer: zeros. Empty where the network has none."""
        return [np.zeros(shape) for shape in network.bias_shapes]

    def check(self, network: NetworkSpec) -> None:
        """Refuse a network that has no such point, by an ``ImpossibleNetworkError``."""


class OfLayers(Initialisation):
    """Draws each layer independently, in any network."""

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Draw every layer independently."""
        return [self._layer(shape, rng) for shape in network.shapes]

    @abstractmethod
    def _layer(self, shape: Shape, rng: np.random.Generator) -> Array: ...


class Origin(OfLayers):
    """All weights zero."""

    name: Literal["origin"] = "origin"

    def _layer(self, shape: Shape, rng: np.random.Generator) -> Array:
        return np.zeros(shape)


class NearOrigin(OfLayers):
    """``N(0, std²)`` for every weight."""

    name: Literal["near_origin"] = "near_origin"
    std: PositiveFloat = Field(0.005, description="σ, the same for all layers.")

    def _layer(self, shape: Shape, rng: np.random.Generator) -> Array:
        return self.std * rng.standard_normal(shape)


class LecunNormal(OfLayers):
    """``N(0, 1/fan_in)``: keeps the variance of linear activities from layer to layer."""

    name: Literal["lecun_normal"] = "lecun_normal"

    def _layer(self, shape: Shape, rng: np.random.Generator) -> Array:
        return np.asarray(rng.standard_normal(shape) / np.sqrt(_fan_in(shape)))


class XavierNormal(OfLayers):
    """``N(0, 2/(fan_in + fan_out))`` (Glorot & Bengio 2010)."""

    name: Literal["xavier_normal"] = "xavier_normal"

    def _layer(self, shape: Shape, rng: np.random.Generator) -> Array:
        fans = _fan_in(shape) + prod(shape) // shape[1]  # what an input reaches is its fan-out
        return np.asarray(rng.standard_normal(shape) * np.sqrt(2 / fans))


class KaimingUniform(OfLayers):
    """``U(-1/√fan_in, 1/√fan_in)``: what PyTorch and Equinox give a linear layer by default."""

    name: Literal["kaiming_uniform"] = "kaiming_uniform"

    def _layer(self, shape: Shape, rng: np.random.Generator) -> Array:
        return np.asarray(rng.uniform(-1, 1, shape) / np.sqrt(_fan_in(shape)))

    def draw_biases(self, network: NetworkSpec, rng: np.random.Generator) -> Biases:
        """Draw every bias from the distribution of its layer's weights."""
        return [
            rng.uniform(-1, 1, bias) / np.sqrt(_fan_in(weight))
            for weight, bias in zip(network.shapes, network.bias_shapes, strict=False)
        ]


class Orthogonal(OfLayers):
    """Orthonormal rows or columns, Haar distributed, times ``gain`` (Saxe et al. 2014)."""

    name: Literal["orthogonal"] = "orthogonal"
    gain: PositiveFloat = 1.0

    def _layer(self, shape: Shape, rng: np.random.Generator) -> Array:
        return self.gain * _orthogonal(shape[0], _fan_in(shape), rng).reshape(shape)


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


def _fan_in(shape: Shape) -> int:
    """Inputs of one unit."""
    return prod(shape[1:])


def _orthogonal(out: int, inp: int, rng: np.random.Generator) -> Float[np.ndarray, "out inp"]:
    """Haar-distributed: Q of a Gaussian matrix, signs fixed by R's diagonal (Mezzadri 2007)."""
    tall = rng.standard_normal((max(out, inp), min(out, inp)))
    q, r = np.linalg.qr(tall)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return q if out >= inp else q.T


BESIDE_A_CANDIDATE = frozenset(
    {"x", "y", "hessian", "energy", "directions", "coefficients", "falls"}
)
"""What ``critical_points`` keeps beside the weights of a candidate: a record, no parameters."""


class Saved(Initialisation):
    """Weights ``W_1 … W_L``, and biases ``b_1 … b_L``, from a ``.npz`` file.

    So are candidates of ``critical_points`` kept. Nothing that is read is executed.
    """

    name: Literal["saved"] = "saved"
    path: str = Field(
        description="The .npz file, as seen from the suite that names it; with --set, from here."
    )
    _folder: Path = PrivateAttr(Path())

    def model_post_init(self, context: Any) -> None:
        """Take the folder from the context of validation, folders by paths as they are written."""
        if context:
            self._folder = context.get(self.path, Path())

    @property
    def file(self) -> Path:
        """Where the file is."""
        return self._folder / self.path

    @property
    def _named(self) -> str:
        return repr(str(self.file))

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Read the weights."""
        return self._read(network)[: network.n_layers]

    def draw_biases(self, network: NetworkSpec, rng: np.random.Generator) -> Biases:
        """Read the biases, if the network has any."""
        return self._read(network)[network.n_layers :]

    def check(self, network: NetworkSpec) -> None:
        """Refuse a file that cannot be read, or does not fit the hidden layers.

        The widths of input and output are the data's, which are not known here.
        """
        self._read(network, with_ends=False)

    def _read(self, network: NetworkSpec, *, with_ends: bool = True) -> Weights:
        """Read weights, then biases; without the ends, widths of input and output may be any."""
        last = network.n_layers
        due: dict[str, list[int | None]] = {
            f"{letter}_{layer}": [*shape]
            for letter, shapes in (("W", network.shapes), ("b", network.bias_shapes))
            for layer, shape in enumerate(shapes, start=1)
        }
        if not with_ends:
            due["W_1"][1:] = [None] * (len(due["W_1"]) - 1)
            for name in {f"W_{last}", f"b_{last}"} & {*due}:
                due[name][0] = None
        if not self.file.is_file():
            raise ImpossibleNetworkError(
                f"there is no file {self._named}; make initialisation.path that of saved weights"
            )
        try:
            with self.file.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                unused = sorted({*file.files} - {*due} - BESIDE_A_CANDIDATE)
                found = {name: file[name] for name in due if name in file.files}
        # One array alone, which is no archive, is a TypeError of `with`.
        except (OSError, BadZipFile, ValueError, TypeError, EOFError, zlib.error) as error:
            raise ImpossibleNetworkError(
                f"{self._named} is no .npz file of numbers, as numpy.savez writes them"
            ) from error
        if missing := [name for name in due if name not in found]:
            raise ImpossibleNetworkError(
                f"{self._named} lacks {', '.join(missing)}, which the network needs; save W_1 … "
                f"W_{last}{f', and b_1 … b_{last}' if network.bias else ''}"
            )
        if unused:
            raise ImpossibleNetworkError(
                f"{self._named} holds {', '.join(unused)}, which the network has no use for: it "
                f"has {last} layers {'with' if network.bias else 'without'} biases; take them out "
                "of the file, or change network"
            )
        return [self._fitting(name, found[name], shape) for name, shape in due.items()]

    def _fitting(
        self, name: str, array: Shaped[np.ndarray, "..."], due: list[int | None]
    ) -> Float[np.ndarray, "..."]:
        """Return an entry as float64, or refuse it."""
        fits = len(array.shape) == len(due) and all(
            wanted in (None, size) for size, wanted in zip(array.shape, due, strict=True)
        )
        if not fits:
            shape = ", ".join("any" if size is None else str(size) for size in due)
            turned = array.ndim == 2 and [*array.shape[::-1]] == due
            raise ImpossibleNetworkError(
                f"{name} in {self._named} has shape {array.shape}, and the network needs ({shape})"
                f"{': save it transposed' if turned else ', one row a unit'}"
            )
        numbers = array.dtype.kind in "fiu"
        if not numbers or not np.isfinite(array).all():
            held = "numbers that are not finite" if numbers else f"{array.dtype}, no real numbers"
            raise ImpossibleNetworkError(
                f"{name} in {self._named} holds {held}; save finite real numbers"
            )
        return np.asarray(array, np.float64)


InitialisationField = Annotated[
    Annotated[
        Origin
        | NearOrigin
        | LecunNormal
        | XavierNormal
        | KaimingUniform
        | Orthogonal
        | PenultimateOnly
        | ZeroRank
        | Saved,
        Field(discriminator="name"),
    ],
    # A bare name stands for an initialisation with its default settings.
    BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value),
]
