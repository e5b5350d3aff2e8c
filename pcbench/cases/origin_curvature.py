"""The origin of a non-linear network, by differences of gradients (theory.md 3.2).

With ``φ(0) = 0`` and more than one hidden layer, the equilibrated energy has at the origin the
Hessian of a linear network, ``-Σ_yy ⊗ I`` in the block of ``W_L``, times ``φ'(0)²`` in the pre
convention, and zero elsewhere: a strict saddle. Of the equilibrated energy only gradients are
asked, a small step to both sides of the origin, so that no backend needs second derivatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import Field, PositiveInt, model_validator

from pcbench import checks, theory
from pcbench.backends import Backend, Capability, GaussNewtonInference, InferenceSettings
from pcbench.cases._problem import Problem, rounded
from pcbench.cases._relaxed import Relaxed, RelaxedJudge, needs
from pcbench.cases.base import Case, CaseParameters, Context, Finding
from pcbench.checks import Tolerance
from pcbench.data import DataField
from pcbench.networks import InitialisationField, NetworkParameters, Origin

SOURCE = "the origin of a non-linear network (theory.md 3.2)"


class OriginNetwork(NetworkParameters):
    """A network of at least two hidden layers, with all weights zero."""

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
        if (self.activation, self.convention) in {("relu", "pre"), ("leaky_relu", "pre")}:
            raise ValueError(
                f"{self.activation} has no second derivative at the origin in the pre convention; "
                "use convention: post, or a smooth activation"
            )
        return self


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
        "the curvature of the equilibrated energy at the origin of a non-linear network, from "
        "gradients to both sides of it"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[Capability]:
        """Return the capabilities behind the engine and the network."""
        return needs(self.parameters.network, {"": self.parameters.inference})

    def run(self, context: Context) -> Iterator[Finding]:
        """Compare ``∇²𝓕*(0) V`` with the closed form along random directions and the steepest."""
        asked, dtype = self.parameters, context.backend.dtype
        problem = Problem.pose(context, asked.data, asked.network)
        rng = context.rng("directions")
        last = -(_slope(asked.network) ** 2) * (problem.y.T @ problem.y) / len(problem.x)
        eigenvalues, eigenvectors = np.linalg.eigh(last)
        steepest = [np.zeros_like(weight) for weight in problem.weights]
        steepest[-1][:, 0] = eigenvectors[:, 0]
        directions = [_unit([rng.standard_normal(w.shape) for w in problem.weights])]
        directions += [
            _unit([rng.standard_normal(w.shape) for w in problem.weights])
            for _ in range(asked.directions - 1)
        ]
        h = theory.unit_roundoff(dtype) ** (1 / 3)
        worst, curvature = checks.Worst(), np.nan
        for index, direction in enumerate([*directions, steepest]):
            once, off = _difference(context.backend, problem, direction, h, asked.inference)
            twice, _ = _difference(context.backend, problem, direction, 2 * h, asked.inference)
            # Rectifiers leave a term of first order in h, smooth activations of second.
            missed = float(
                np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(once, twice, strict=True)))
            )
            tolerance = Tolerance(
                2 * missed + off,
                "twice how far differences of two steps are apart, and rounding over the step",
            )
            expected = [*(np.zeros_like(d) for d in direction[:-1]), last @ direction[-1]]
            for layer, (seen, wanted) in enumerate(zip(once, expected, strict=True), start=1):
                worst.add(
                    checks.distance(
                        "curvature times a direction",
                        seen,
                        wanted,
                        tolerance,
                        source=SOURCE,
                        where=f"layer {layer}, direction {index + 1}",
                    )
                )
            curvature = sum(float(np.sum(d * s)) for d, s in zip(direction, once, strict=True))
        yield from worst
        yield checks.approx(
            "curvature along the steepest direction",
            curvature,
            float(eigenvalues[0]),
            tolerance,
            source=SOURCE,
        )
        yield checks.below("strict saddle of the energy", curvature, 0.0, tolerance, source=SOURCE)


def _slope(network: OriginNetwork) -> float:
    """``φ'(0)`` where the curvature has it: in the pre convention."""
    if network.convention == "post":
        return 1.0
    return 0.5 if network.activation == "silu" else 1.0


def _unit(direction: list[Float[np.ndarray, "_out _inp"]]) -> list[Float[np.ndarray, "_out _inp"]]:
    length = np.sqrt(sum(float(np.sum(d**2)) for d in direction))
    return [d / length for d in direction]


def _difference(
    backend: Backend[Any],
    problem: Problem,
    direction: list[Float[np.ndarray, "_out _inp"]],
    h: float,
    settings: InferenceSettings,
) -> tuple[list[Float[np.ndarray, "_out _inp"]], float]:
    """``(∇𝓕*(hV) - ∇𝓕*(-hV)) / 2h``, and how far rounding and the residual may have moved it."""
    slopes, off = [np.zeros_like(d) for d in direction], 0.0
    for sign in (1, -1):
        weights = rounded([sign * h * d for d in direction], backend.dtype)
        there = Problem(problem.network, weights, problem.x, problem.y)
        judge, model = RelaxedJudge(there, backend.dtype), backend.build(there.network, weights)
        relaxed = Relaxed.ask(backend, model, there, settings)
        activities = [backend.to_device(z) for z in judge.clamped(relaxed)]
        rounding = judge.rounding(relaxed)
        left = float(relaxed.residual) * judge.start + rounding.residual
        size = max(float(np.linalg.norm(z)) for z in judge.clamped(relaxed))
        off += sum(rounding.gradients) + 2 * len(weights) * left * size / judge.samples
        for slope, gradient in zip(slopes, model.energy_gradients(activities), strict=True):
            slope += sign * backend.to_host(gradient) / (2 * h)
    return slopes, off / (2 * h)
