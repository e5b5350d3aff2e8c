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

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from pcbench.case import Case, CaseParameters, CaseSkippedError, Context
from pcbench.checks import Check
from pcbench.contract import Backend, GaussNewtonInference, InferenceSettings, IterativeInference
from pcbench.data import DataField
from pcbench.data.base import Count
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

BASIS = Basis(
    "the origin of a non-linear network (theory.md 3.2)",
    "twice how far differences of two steps are apart, and rounding over the step",
)


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
    directions: Count = Field(3, description="Random directions from the origin.")


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

    @folded
    def run(self, context: Context) -> Iterator[Check]:
        """Compare ``∇²𝓕*(0) V`` with the closed form along random directions and the steepest.

        Where the origin is a kink: how gradients grow on the way out, along random directions.
        """
        asked, one_sided = self.parameters, self.parameters.network.one_sided
        sides = (1,) if one_sided else (1, -1)
        problem = Problem.pose(context, asked.data, asked.network)
        rng, numbers = context.rng("directions"), range(asked.directions)
        if one_sided:
            name = "one-sided curvature times a direction"
            directions = [_unit(one_sided_direction(problem, rng)) for _ in numbers]
        else:
            name, slope = "curvature times a direction", 1.0
            if asked.network.convention == "pre":
                slope = float(activation_slope(problem.layered.activation, np.zeros((1, 1)))[0, 0])
            last = -(slope**2) * (problem.y.T @ problem.y) / len(problem.x)
            eigenvalues, eigenvectors = np.linalg.eigh(last)
            directions = [
                _unit([rng.standard_normal(weight.shape) for weight in problem.weights])
                for _ in numbers
            ]
            steepest = [np.zeros_like(weight) for weight in problem.weights]
            steepest[-1][:, 0] = eigenvectors[:, 0]
            directions.append(steepest)
        for index, along in enumerate(directions, start=1):
            product, off, form = _curvature_along(
                context.backend, problem, along, asked.inference, sides
            )
            yield form
            if not form.passed:
                return
            expected = (
                one_sided_growth(problem, along)
                if one_sided
                else [*(np.zeros_like(d) for d in along[:-1]), last @ along[-1]]
            )
            names = [f"{layer}, direction {index}" for layer in layers(len(along))]
            yield from BASIS.distances(name, product, expected, repeat(off), names)
            curvature = sum(float(np.sum(d * s)) for d, s in zip(along, product, strict=True))
            if one_sided:
                strict = "one-sidedly strict saddle of the energy"
                yield BASIS.below(strict, curvature, 0.0, off, f"direction {index}")
        if not one_sided:
            steepest_name = "curvature along the steepest direction"
            yield BASIS.approx(steepest_name, curvature, eigenvalues[0], off)
            yield BASIS.below("strict saddle of the energy", curvature, 0.0, off)


def _curvature_along(
    backend: Backend[Any],
    problem: Problem,
    direction: Weights,
    settings: InferenceSettings,
    sides: Sequence[int],
) -> tuple[Weights, float, Check]:
    """``(∇𝓕*(hV) - ∇𝓕*(-hV)) / 2h``, how far it may be off, and whether inference answered at all.

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
            form = judge.form("inference", result, settings)
            if not form.passed:
                return slopes, 1.0, form
            activities, rounding = judge.clamped(result), judge.rounding(result)
            residual = judge.force(result)
            # On the kinks of rectifiers no force vanishes: what is left there widens the tolerance.
            if isinstance(settings, IterativeInference) and is_smooth(there.network):
                begun = settings.residual * judge.forward_rounding.residual
                most, allowed = settings.residual * judge.start, rounding.residual + begun
                derivation = "rounding at these activities (theory.md 4)"
                form = Basis(UNFINISHED, derivation, label="inference").at_most(
                    "residual within the budget", residual, most, allowed
                )
                if not form.passed:
                    return slopes, 1.0, form
            left = residual + rounding.residual
            size = max(float(np.linalg.norm(z)) for z in activities)
            off += sum(rounding.gradients) + 2 * len(slopes) * left * size / judge.samples
            for slope, gradient in zip(slopes, subject.energy_gradients(activities), strict=True):
                slope += sign * gradient / step
        products.append(slopes)
        offs.append(off / step)
    squares = sum(float(np.sum((a - b) ** 2)) for a, b in zip(*products, strict=True))
    return products[0], offs[0] + 2 * float(np.sqrt(squares)), form


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
    last_hidden = feedforward(problem.at(along).layered, problem.x)[-2]
    drawn = np.maximum(problem.y @ along[-1], 0.0)
    by_last = -problem.y.T @ (np.where(last_hidden > 0, 1.0, 0.0) * drawn) / len(problem.x)
    return [*(np.zeros_like(layer) for layer in along[:-1]), by_last]
