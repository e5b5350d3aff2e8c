r"""The origin of a non-linear network, by differences of gradients (theory.md 3.2).

With ``φ(0) = 0`` and more than one hidden layer, the equilibrated energy has at the origin the
Hessian of a linear network, ``-Σ_yy ⊗ I`` in the block of ``W_L``, times ``φ'(0)²`` in the pre
convention, and zero elsewhere: a strict saddle. Of the equilibrated energy only gradients are
asked, a small step to both sides of the origin, so that no backend needs second derivatives.

Of relu in the pre convention, ``f_L(z) = W_L φ(z)`` has a kink there, and the energy no Hessian.
On the way out along ``V`` it still has a curvature: a last hidden unit that the forward pass leaves
awake, ``z > 0``, is drawn to ``b = V_Lᵀ y`` where that is positive, and the gradient of ``W_L``
grows by

.. math:: -\frac{1}{N} \sum_n y_n \, (1[z_n > 0] * b_n)^T .

Units that are asleep stay where they are: the slope is 0 there. A unit drawn down comes to rest on
its kink, where no force vanishes; directions here are such that none is, which takes targets of one
sign. With two hidden layers, who is awake is decided by the first alone, which inference moves by
less than it is away from zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from pcbench import checks
from pcbench.case import Case, CaseParameters, CaseSkippedError, Context, Finding
from pcbench.checks import Check
from pcbench.contract import Backend, GaussNewtonInference, InferenceSettings, IterativeInference
from pcbench.data import DataField
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import Subject, needs
from pcbench.judges.basis import Basis, folded
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem, Weights, rounded
from pcbench.judges.reported import UNFINISHED, layers
from pcbench.judges.saddle import refuse_sigmoid
from pcbench.networks import InitialisationField, NetworkParameters, Origin
from pcbench.networks.activations import ActivationName
from pcbench.theory.nonlinear.activations import activation_slope
from pcbench.theory.nonlinear.layered import feedforward
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

    @folded
    def _one_side(
        self, context: Context, problem: Problem, rng: np.random.Generator
    ) -> Iterator[Check]:
        """Compare how gradients grow on the way out, along random directions."""
        for index in range(1, self.parameters.directions + 1):
            along = _unit(one_sided_direction(problem, rng))
            moved = _curvature_along(
                context.backend, problem, along, self.parameters.inference, sides=(1,)
            )
            expected = one_sided_growth(problem, along)
            yield from moved.checks("one-sided curvature times a direction", expected, index)
            if not moved.well_formed.passed:
                return
            name, where = "one-sidedly strict saddle of the energy", f"direction {index}"
            yield moved.expect.below(name, moved.curvature(along), 0.0, moved.off, where)


@dataclass(frozen=True, slots=True)
class Moved:
    """``∇²𝓕*(0) V``, one array a layer, from gradients to both sides of the origin.

    ``off`` is how far differences of a step may leave it from the truth; ``well_formed`` says
    whether inference answered at all, at every point that was asked for.
    """

    product: Weights
    off: float
    well_formed: Check
    expect: ClassVar[Basis] = Basis(
        SOURCE, "twice how far differences of two steps are apart, and rounding over the step"
    )

    def checks(self, name: str, expected: Weights, direction: int) -> Iterator[Check]:
        """Compare the product along a direction with what it should be, layer by layer."""
        yield self.well_formed
        if self.well_formed.passed:
            names = [f"{layer}, direction {direction}" for layer in layers(len(expected))]
            offs = repeat(self.off)
            yield from self.expect.distances(name, self.product, expected, offs, names)

    def curvature(self, along: Weights) -> float:
        """``vᵀ ∇²𝓕*(0) v``, for the direction of the product."""
        return sum(float(np.sum(d * s)) for d, s in zip(along, self.product, strict=True))


def _curvature_along(
    backend: Backend[Any],
    problem: Problem,
    direction: Weights,
    settings: InferenceSettings,
    sides: tuple[int, ...] = (1, -1),
) -> Moved:
    """``(∇𝓕*(hV) - ∇𝓕*(-hV)) / 2h``, and how far it may be off.

    Of one side, ``∇𝓕*(hV) / h``: the gradient at the origin is zero. Rounding and the residual may
    have moved it; and the same for ``2h`` shows what it leaves out, of first order in ``h`` with
    rectifiers, of second with smooth activations. Where inference gives no sensible answer, the
    check has failed, and that is all.
    """
    h, products, offs = unit_roundoff(backend.dtype) ** (1 / 3), list[Weights](), list[float]()
    for width in (h, 2 * h):
        slopes, off, step = [np.zeros_like(d) for d in direction], 0.0, len(sides) * width
        for sign in sides:
            there = problem.at(rounded([sign * width * d for d in direction], backend.dtype))
            judge, subject = InferenceJudge(there, backend.dtype), Subject(backend, there)
            result = subject.infer(settings)
            well_formed = judge.form("inference", result, settings)
            if not well_formed.passed:
                return Moved(slopes, 1.0, well_formed)
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
                    return Moved(slopes, 1.0, well_formed)
            left = residual + rounding.residual
            size = max(float(np.linalg.norm(z)) for z in activities)
            off += sum(rounding.gradients) + 2 * len(slopes) * left * size / judge.samples
            for slope, gradient in zip(slopes, subject.energy_gradients(activities), strict=True):
                slope += sign * gradient / step
        products.append(slopes)
        offs.append(off / step)
    squares = sum(float(np.sum((a - b) ** 2)) for a, b in zip(*products, strict=True))
    return Moved(products[0], offs[0] + 2 * float(np.sqrt(squares)), well_formed)


def _slope(network: OriginNetwork, problem: Problem) -> float:
    """``φ'(0)`` in the pre convention, of a rectifier that of its awake side; 1 in post."""
    if network.convention == "post" or network.one_sided:
        return 1.0
    return float(activation_slope(problem.layered.activation, np.zeros((1, 1)))[0, 0])


def _unit(direction: Weights) -> Weights:
    length = np.sqrt(sum(float(np.sum(d**2)) for d in direction))
    return [d / length for d in direction]


def one_sided_direction(problem: Problem, rng: np.random.Generator) -> Weights:
    """Draw a direction along which no unit is drawn down, not of unit length.

    That takes targets of one sign; with others the case is skipped.
    """
    if (problem.y >= 0).all():
        sign = 1.0
    elif (problem.y <= 0).all():
        sign = -1.0
    else:
        raise CaseSkippedError(
            "some targets are positive and some negative, and rectifiers in the pre convention "
            "then rest on kinks; use data with targets of one sign, such as one-hot labels"
        )
    drawn = [rng.standard_normal(weight.shape) for weight in problem.weights]
    drawn[-1] = sign * np.abs(drawn[-1])
    return drawn


def one_sided_growth(problem: Problem, along: Weights) -> Weights:
    """How all weight gradients grow from zero along a direction, a layer each."""
    there = problem.at(along)
    last_hidden = feedforward(there.layered, problem.x)[-2]
    drawn = np.maximum(problem.y @ along[-1], 0.0)
    by_last = -problem.y.T @ (np.where(last_hidden > 0, 1.0, 0.0) * drawn) / len(problem.x)
    return [*(np.zeros_like(layer) for layer in along[:-1]), by_last]
