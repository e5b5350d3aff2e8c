"""Random networks of many shapes, each with a batch: what conformance is tried on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pcbench.contract import Capability, DType
from pcbench.judges.problem import Problem, Weights, rounded
from pcbench.networks import NetworkSpec
from pcbench.networks.activations import ROWS, ActivationName, activation
from pcbench.networks.specification import Convention, Convolution

Layers = Literal["linear", "smooth", "nonlinear", "convolutional"]

Style = tuple[str, Convention, bool]


def _in_turn(activations: Sequence[str]) -> list[Style]:
    """Let activations take turns, each with another convention and biases than those beside it.

    So a few networks have seen them all, and a few more everything there is.
    """
    conventions: tuple[Convention, ...] = ("post", "pre")
    return [
        (activation, conventions[way % 2], way in (1, 2))
        for turn in range(4)
        for place, activation in enumerate(activations)
        for way in [(turn + place) % 4]
    ]


def _not_linear(styles: list[Style]) -> list[Style]:
    """Leave out what is linear; with biases it is not, and no closed form takes it."""
    return [style for style in styles if style[0] != "identity" or style[2]]


_STYLES: dict[Layers, list[Style]] = {
    "linear": [("identity", "post", False)],
    "smooth": _not_linear(_in_turn([row.name for row in ROWS if row.smooth])),
    "nonlinear": _not_linear(_in_turn([row.name for row in ROWS])),
    "convolutional": _in_turn([row.name for row in ROWS]),
}
_BIAS = 0.3
"""Standard deviation of biases."""
_SIDES, _KERNELS, _CHANNELS = (2, 3, 4, 6), (1, 3, 5), (1, 2, 3)
_PRECISIONS = (1e-3, 10.0)
"""Least and most, drawn alike in every decade: what is clipped at 1, or dropped, shows."""
_UNOBSERVED = slice(1, None, 3)
"""Samples without any observed output: every third, and never the first."""


Span = TypeVar("Span", tuple[int, int], tuple[float, float])


def _ordered(span: Span) -> Span:
    if span[0] > span[1]:
        raise ValueError(f"a range is written from least to most, not {span[0]} to {span[1]}")
    return span


Counts = Annotated[tuple[PositiveInt, PositiveInt], AfterValidator(_ordered)]
Sizes = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ordered)]


class Draw(BaseModel):
    """Which networks and batches are drawn; ranges are [least, most]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: Layers = Field(
        "linear",
        description="linear; smooth: also tanh, SiLU and biases; nonlinear: also rectifiers; "
        "convolutional: small convolutions before up to three fully connected layers.",
    )
    activations: list[ActivationName] | None = Field(
        None,
        min_length=1,
        description="Which take turns in layers that are not linear; those that come with pcbench, "
        "if none is given.",
    )
    depth: Counts = Field((1, 12), description="L, layers with weights.")
    width: Counts = Field((1, 64), description="Units of every layer, input and output included.")
    samples: Counts = Field((1, 8), description="N, samples of the batch.")
    gain: Sizes = Field(
        (0.5, 1.5), description="Weights are N(0, gain²/fan_in), with one gain for each network."
    )
    observed: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Probability that an output is observed, with a precision of its own from "
        "1e-3 to 10. The others, and all outputs of every third sample, have precision 0, and "
        "NaN as targets.",
    )

    @model_validator(mode="after")
    def _takes_these_activations(self) -> Draw:
        if self.activations and self.layers == "linear":
            raise ValueError(
                "linear networks have no activations; leave 'activations' out, or write layers: "
                "smooth"
            )
        kinked = [name for name in self.activations or () if not activation(name).smooth]
        if kinked and self.layers == "smooth":
            raise ValueError(f"{kinked[0]} has kinks; write layers: nonlinear")
        return self

    @property
    def needs(self) -> frozenset[Capability]:
        """What a backend must offer for these networks."""
        needed = {
            Capability.NONLINEAR: self.layers != "linear",
            Capability.CONVOLUTIONS: self.layers == "convolutional",
            Capability.PRECISION: self.observed < 1,
        }
        return frozenset(capability for capability, is_needed in needed.items() if is_needed)

    def problem(self, number: int, rng: np.random.Generator, dtype: DType) -> Drawn:
        """Draw a network and a batch.

        The first is the least of all, the second the deepest, the third the widest with the largest
        batch, and every fourth has a batch of one; activations, conventions and biases take turns.
        """
        styles = _STYLES[self.layers]
        if self.activations:
            styles = _in_turn(self.activations)
            styles = styles if self.layers == "convolutional" else _not_linear(styles)
        activation, convention, bias = styles[(number - 1) % len(styles)]
        depth, samples = _count(rng, self.depth, number, 2), _count(rng, self.samples, number, 3)
        if number % 4 == 0:
            samples = self.samples[0]
        convolutions: list[Convolution] = []
        if self.layers == "convolutional":
            convolutions = _convolutions(rng)
            widths = [convolutions[0].inputs, *(layer.outputs for layer in convolutions)]
            widths += [_small_more_often(rng, self.width) for _ in range(min(depth, 3))]
        else:
            widths = [_count(rng, self.width, number, 3) for _ in range(depth + 1)]
        spec = NetworkSpec(tuple(widths), activation, convention, bias, tuple(convolutions))
        weights, biases = self.parameters(spec, rng)
        x, y = (rng.standard_normal((samples, spec.widths[end])) for end in (0, -1))
        x, y = rounded([x, y], dtype)
        problem = Problem(spec, rounded(weights, dtype), x, y, rounded(biases, dtype))
        if self.observed < 1:
            problem = _weighed(problem.masked(self.observed, rng), rng, dtype)
        return Drawn(number, problem)

    def parameters(self, spec: NetworkSpec, rng: np.random.Generator) -> tuple[Weights, Weights]:
        """Draw weights and biases."""
        gain = rng.uniform(*self.gain)
        weights = [
            gain * rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])) for shape in spec.shapes
        ]
        return weights, [_BIAS * rng.standard_normal(shape) for shape in spec.bias_shapes]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A network and a batch, by a number that draws them again."""

    number: int
    problem: Problem

    @property
    def size(self) -> int:
        """What the smallest of several that fail is chosen by."""
        return self.problem.network.n_parameters * len(self.problem.x)

    def __str__(self) -> str:
        network = self.problem.network
        parts = [f"network {self.number}: {network}"]
        parts += [
            f"convolution {layer.image[0]}×{layer.image[1]}×{layer.image[2]} to {layer.channels} "
            f"channels, kernel {layer.kernel}, pool {layer.pool}"
            for layer in network.convolutions
        ]
        parts += ["linear"] if network.is_linear else [network.activation, network.convention]
        parts += ["biases"] if network.bias else []
        parts += ["masked"] if self.problem.precision is not None else []
        return ", ".join([*parts, f"N = {len(self.problem.x)}"])


def _weighed(problem: Problem, rng: np.random.Generator, dtype: DType) -> Problem:
    """Give what is observed a precision of its own, and leave every third sample unobserved."""
    assert problem.precision is not None  # for the type checker
    low, high = map(log, _PRECISIONS)
    counts = np.exp(rng.uniform(low, high, problem.precision.shape))
    [precision] = rounded([problem.precision * counts], dtype)
    precision[_UNOBSERVED] = 0
    return replace(problem, y=np.where(precision > 0, problem.y, np.nan), precision=precision)


def _count(rng: np.random.Generator, span: tuple[int, int], number: int, largest: int) -> int:
    """Draw a count; the first is least, one other the most."""
    return {1: span[0], largest: span[1]}.get(number, _small_more_often(rng, span))


def _small_more_often(rng: np.random.Generator, span: tuple[int, int]) -> int:
    """Draw a count, alike in every decade."""
    return round(float(np.exp(rng.uniform(log(span[0]), log(span[1])))))


def _convolutions(rng: np.random.Generator) -> list[Convolution]:
    channels, height, width = (int(rng.choice(some)) for some in (_CHANNELS, _SIDES, _SIDES))
    convolutions: list[Convolution] = []
    for _ in range(int(rng.integers(1, 3))):
        pools = [pool for pool in (1, 2, 3) if height % pool == 0 and width % pool == 0]
        outputs, kernel, pool = (int(rng.choice(some)) for some in (_CHANNELS, _KERNELS, pools))
        convolutions.append(Convolution((channels, height, width), outputs, kernel, pool))
        channels, height, width = convolutions[-1].output_image
    return convolutions
