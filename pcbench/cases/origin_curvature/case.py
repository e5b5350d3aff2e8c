"""The origin of a non-linear network, by differences of gradients (theory.md 3.2).

With ``φ(0) = 0`` and more than one hidden layer, the equilibrated energy has at the origin the
Hessian of a linear network, ``-Σ_yy ⊗ I`` in the block of ``W_L``, times ``φ'(0)²`` in the pre
convention, and zero elsewhere: a strict saddle. Of the equilibrated energy only gradients are
asked, a small step to both sides of the origin, so that no backend needs second derivatives; of
relu in the pre convention, whose origin is a kink, a step to one side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated, Any, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from pcbench import checks
from pcbench.case import Case, CaseParameters, Context, Finding
from pcbench.cases.origin_curvature import one_sided
from pcbench.checks import Check
from pcbench.contract import (
    Backend,
    GaussNewtonInference,
    InferenceSettings,
    IterativeInference,
)
from pcbench.data import DataField
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import Subject, needs
from pcbench.judges.basis import Basis
from pcbench.judges.hessian.critical import refuse_sigmoid
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.reported import UNFINISHED, layers
from pcbench.networks import InitialisationField, NetworkParameters, Origin
from pcbench.networks.activations import ActivationName
from pcbench.theory.nonlinear.layered import activation_slope
from pcbench.theory.rounding.bounds import unit_roundoff

SOURCE = "the origin of a non-linear network (theory.md 3.2)"


class OriginNetwork(NetworkParameters):
    """A network of at least two hidden layers, with all weights zero."""

    activation: Annotated[ActivationName, BeforeValidator(refuse_sigmoid)] = "identity"
    initialisation: InitialisationField = Origin()

    @model_validator(mode="after")
    def _is_at_an_origin_with_curvature(self) -> OriginNetwork:
        if not isinstance(self.initialisation, Origin):
            raise ValueError("this kind is about the origin; leave initialisation out")
        if len(self.hidden) < 2 or self.convolutions or self.bias:
            raise ValueError(
                "this kind takes fully connected networks, of 2 hidden layers or more, "
                "without biases"
            )
        if self.convention == "pre" and self.activation == "leaky_relu":
            raise ValueError(
                "leaky_relu has no second derivative at the origin in the pre convention; use "
                "convention: post, a smooth activation, or relu, of which one side is looked at"
            )
        if self.one_sided and len(self.hidden) > 2:
            raise ValueError(
                "relu in the pre convention is looked at from one side, with 2 hidden layers: with "
                "more, inference decides itself which units are awake"
            )
        return self

    @property
    def one_sided(self) -> bool:
        """Whether the origin is a kink, of which one side is looked at."""
        return (self.activation, self.convention) == ("relu", "pre")


class Parameters(CaseParameters):
    """What a suite may write under ``kind: origin_curvature``."""

    data: DataField
    network: OriginNetwork
    inference: InferenceSettings = GaussNewtonInference(residual=1e-8)
    directions: PositiveInt = Field(3, description="Random directions from the origin.")


class OriginCurvature(Case[Parameters]):
    """Curvature of the equilibrated energy at the origin of a non-linear network."""

    kind: ClassVar[str] = "origin_curvature"
    description: ClassVar[str] = (
        "the curvature of the equilibrated energy at the origin of a non-linear "
        "network, from gradients on both sides of it"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return the capabilities behind the engine and the network."""
        return needs(self.parameters.network, {"": self.parameters.inference})

    def run(self, context: Context) -> Iterator[Finding]:
        """Compare ``∇²𝓕*(0) V`` with the closed form along random directions and the steepest."""
        asked = self.parameters
        problem = Problem.pose(context, asked.data, asked.network)
        rng = context.rng("directions")
        if asked.network.one_sided:
            yield from self._one_side(context, problem, rng)
            return
        last = -(_slope(asked.network, problem) ** 2) * (problem.y.T @ problem.y) / len(problem.x)
        eigenvalues, eigenvectors = np.linalg.eigh(last)
        steepest = [np.zeros_like(weight) for weight in problem.weights]
        steepest[-1][:, 0] = eigenvectors[:, 0]
        directions = [
            _unit([rng.standard_normal(weight.shape) for weight in problem.weights])
            for _ in range(asked.directions)
        ]
        worst = checks.Worst()
        for index, along in enumerate([*directions, steepest], start=1):
            moved = _curvature_along(context.backend, problem, along, asked.inference)
            expected = [*(np.zeros_like(d) for d in along[:-1]), last @ along[-1]]
            worst.add(*moved.checks("curvature times a direction", expected, index))
            if not moved.well_formed.passed:
                break
        yield from worst
        if not moved.well_formed.passed:
            return
        curvature, expect = moved.curvature(steepest), moved.expect
        name = "curvature along the steepest direction"
        yield expect.approx(name, curvature, float(eigenvalues[0]), moved.off)
        yield expect.below("strict saddle of the energy", curvature, 0.0, moved.off)

    def _one_side(
        self, context: Context, problem: Problem, rng: np.random.Generator
    ) -> Iterator[Finding]:
        """Compare how gradients grow on the way out, along random directions."""
        worst = checks.Worst()
        for index in range(1, self.parameters.directions + 1):
            along = _unit(one_sided.direction(problem, rng))
            moved = _curvature_along(
                context.backend, problem, along, self.parameters.inference, sides=(1,)
            )
            expected = one_sided.growth(problem, along)
            worst.add(*moved.checks("one-sided curvature times a direction", expected, index))
            if not moved.well_formed.passed:
                break
            name, where = "one-sidedly strict saddle of the energy", f"direction {index}"
            worst.add(moved.expect.below(name, moved.curvature(along), 0.0, moved.off, where))
        yield from worst


@dataclass(frozen=True, slots=True)
class Moved:
    """``∇²𝓕*(0) V`` from gradients to both sides of the origin.

    Attributes
    ----------
    product
        One array a layer.
    off
        How far differences of a step may leave it from the truth.
    well_formed
        Whether inference answered at all, at every point that was asked for.
    """

    product: list[Float[np.ndarray, "_out _inp"]]
    off: float
    well_formed: Check
    expect: ClassVar[Basis] = Basis(
        SOURCE, "twice how far differences of two steps are apart, and rounding over the step"
    )

    def checks(
        self, name: str, expected: list[Float[np.ndarray, "_out _inp"]], direction: int
    ) -> Iterator[Check]:
        """Compare the product along a direction with what it should be, layer by layer."""
        yield self.well_formed
        if self.well_formed.passed:
            names = [f"{layer}, direction {direction}" for layer in layers(len(expected))]
            offs = repeat(self.off)
            yield from self.expect.distances(name, self.product, expected, offs, names)

    def curvature(self, along: list[Float[np.ndarray, "_out _inp"]]) -> float:
        """``vᵀ ∇²𝓕*(0) v``, for the direction of the product."""
        return sum(float(np.sum(d * s)) for d, s in zip(along, self.product, strict=True))


def _curvature_along(
    backend: Backend[Any],
    problem: Problem,
    direction: list[Float[np.ndarray, "_out _inp"]],
    settings: InferenceSettings,
    sides: tuple[int, ...] = (1, -1),
) -> Moved:
    """Take the difference for a step ``h``, and for ``2h`` to see what that leaves out.

    Rectifiers leave a term of first order in ``h``, smooth activations of second.
    """
    h = unit_roundoff(backend.dtype) ** (1 / 3)
    once, off, well_formed = _difference(backend, problem, direction, h, settings, sides)
    twice, _, further = _difference(backend, problem, direction, 2 * h, settings, sides)
    squares = sum(float(np.sum((a - b) ** 2)) for a, b in zip(once, twice, strict=True))
    off += 2 * float(np.sqrt(squares))
    return Moved(once, off, well_formed if not well_formed.passed else further)


def _slope(network: OriginNetwork, problem: Problem) -> float:
    """``φ'(0)`` in the pre convention, of a rectifier that of its awake side; 1 in post."""
    if network.convention == "post" or network.one_sided:
        return 1.0
    return float(activation_slope(problem.layered.activation, np.zeros((1, 1)))[0, 0])


def _unit(direction: list[Float[np.ndarray, "_out _inp"]]) -> list[Float[np.ndarray, "_out _inp"]]:
    length = np.sqrt(sum(float(np.sum(d**2)) for d in direction))
    return [d / length for d in direction]


def _difference(
    backend: Backend[Any],
    problem: Problem,
    direction: list[Float[np.ndarray, "_out _inp"]],
    h: float,
    settings: InferenceSettings,
    sides: tuple[int, ...],
) -> tuple[list[Float[np.ndarray, "_out _inp"]], float, Check]:
    """``(∇𝓕*(hV) - ∇𝓕*(-hV)) / 2h``, and how far rounding and the residual may have moved it.

    Of one side, ``∇𝓕*(hV) / h``: the gradient at the origin is zero.

    Where inference gives no sensible answer, the check returned has failed, and that is all.
    """
    slopes, off = [np.zeros_like(d) for d in direction], 0.0
    step = len(sides) * h
    for sign in sides:
        weights = rounded([sign * h * d for d in direction], backend.dtype)
        there = Problem(problem.network, weights, problem.x, problem.y)
        judge, subject = InferenceJudge(there, backend.dtype), Subject(backend, there)
        result = subject.infer(settings)
        well_formed = judge.form("inference", result, settings)
        if not well_formed.passed:
            return slopes, 1.0, well_formed
        activities, rounding = judge.clamped(result), judge.rounding(result)
        residual = judge.force(result)
        # On the kinks of rectifiers no force vanishes: what is left there widens the tolerance.
        if isinstance(settings, IterativeInference) and is_smooth(there.network):
            begun = settings.residual * judge.forward_rounding.residual
            derivation = "rounding at these activities (theory.md 4)"
            well_formed = Basis(UNFINISHED, derivation, label="inference").at_most(
                "residual within the budget",
                residual,
                settings.residual * judge.start,
                rounding.residual + begun,
            )
            if not well_formed.passed:
                return slopes, 1.0, well_formed
        left = residual + rounding.residual
        size = max(float(np.linalg.norm(z)) for z in activities)
        off += sum(rounding.gradients) + 2 * len(weights) * left * size / judge.samples
        for slope, gradient in zip(slopes, subject.energy_gradients(activities), strict=True):
            slope += sign * gradient / step
    return slopes, off / step, well_formed
