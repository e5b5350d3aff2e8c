"""What one step of training must see: loss, energy and gradient, and what rounding may do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
from jaxtyping import Float

from pcbench.case import CaseSkippedError
from pcbench.checks import Check
from pcbench.contract import Adam, DType, TrainingSettings
from pcbench.judges.answers import InferenceResult
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.theory.linear.equilibrium import (
    equilibrated_energy,
    equilibrated_energy_gradient,
    equilibrium_activities,
    loss_gradient,
)
from pcbench.theory.nonlinear.layered import layered_loss_gradients
from pcbench.theory.rounding.bounds import CONFIDENCE, FLOAT64, unit_roundoff
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.optimisers import AdamSteps, GradientDescent
from pcbench.theory.rounding.passes import backpropagation_rounding
from pcbench.theory.rounding.perturbation import loss_gradient_rounding
from pcbench.theory.rounding.underflow import SMALLEST, norm_underflow

Gradients = list[Float[np.ndarray, "..."]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the theory has for one replica and one batch; ``…_off`` bounds what rounding may do.

    ``energy`` is what inference has to reach, of backpropagation the loss; bounds on the
    objective's ``gradients``, one an array of parameters, are on their Frobenius norms;
    ``residual`` is the relative one of inference.
    """

    loss: float
    loss_off: float
    energy: float
    energy_off: float
    gradients: Gradients
    gradients_off: tuple[float, ...]
    residual: float
    residual_off: float


def expect(
    problem: Problem, settings: TrainingSettings, dtype: DType, result: InferenceResult | None
) -> Expected:
    """Say what a step must see, at the parameters before it and on its batch.

    ``result`` is where the backend's inference ends in this problem, for predictive coding that has
    no closed form: inference is for other kinds to judge.
    """
    judge = InferenceJudge(problem, dtype)
    if settings.objective == "loss":
        loss = judge.loss, known_loss_off(problem, judge)
        return Expected(*loss, *loss, *backpropagated(problem, dtype), 0.0, SMALLEST)
    return _equilibrium(judge) if result is None else _inferred(judge, result)


def optimiser(settings: TrainingSettings, replica: int) -> GradientDescent:
    """Return an optimiser of one array of a replica's parameters.

    Where nothing bounds the rounding of its steps, the case is skipped.
    """
    rate = np.asarray(settings.learning_rate, np.float64)
    own = float(rate[replica] if rate.ndim else rate)
    asked = settings.optimiser
    if not isinstance(asked, Adam):
        return GradientDescent(own, settings.scale)
    try:
        return AdamSteps(own, settings.scale, asked.beta_1, asked.beta_2, asked.epsilon)
    except ValueError as error:
        raise CaseSkippedError(f"{error}; give beta_2 a positive value") from error


def norm_off(norm: SupportsFloat, size: int, off: float, u: float) -> float:
    """Bound what a Frobenius norm, of ``size`` numbers that are off by so much, may be off by.

    Squares of one sign are added: half the relative rounding of a sum (theory.md 4.1), and a root.
    And what is too small to be a normal number may be lost.
    """
    norm = float(norm)
    relative = CONFIDENCE * (u + FLOAT64) * (1 + np.sqrt(2 * size) / 2)
    return off + float(relative) * norm + float(norm_underflow(norm, size))


def gradient_norms(
    basis: Basis,
    name: str,
    seen: Float[np.ndarray, " P"],
    due: Expected,
    u: float,
    where: Sequence[str],
) -> Iterator[Check]:
    """Check the recorded norm of the gradient of every array of parameters, each at its place."""
    for norm, gradient, off, at in zip(seen, due.gradients, due.gradients_off, where, strict=True):
        expected = np.linalg.norm(gradient)
        yield basis.approx(name, norm, expected, norm_off(expected, gradient.size, off, u), at)


def loss_off(problem: Problem, dtype: DType) -> float:
    """Bound the rounding of ``𝓛``.

    In a linear network a prediction may come of a forward pass, or of products from the output.
    """
    return known_loss_off(problem, InferenceJudge(problem, dtype))


def known_loss_off(problem: Problem, judge: InferenceJudge) -> float:
    """Bound the same, where bounds on rounding are at hand."""
    if problem.network.is_linear and problem.precision is None:
        return judge.exact_rounding.loss
    return judge.forward_rounding.loss


def backpropagated(problem: Problem, dtype: DType) -> tuple[Gradients, tuple[float, ...]]:
    """``∂𝓛/∂θ``, of a linear network in closed form, and bounds on what rounding may do to it."""
    network, u = problem.layered, unit_roundoff(dtype)
    x, y, precision = problem.x, problem.y, problem.precision
    if problem.network.is_linear and precision is None:
        gradients: Gradients = [*loss_gradient(problem.weights, x, y)]
        return gradients, loss_gradient_rounding(problem.weights, x, y, u)
    weights, biases = layered_loss_gradients(network, x, y, precision)
    rounding = backpropagation_rounding(network, x, y, u, precision)
    return [*weights, *(biases or [])], rounding


def _equilibrium(judge: InferenceJudge) -> Expected:
    """``∂𝓕*/∂θ`` of a linear network, in closed form.

    Rounding is what exact inference carries, and then what evaluation at its activities loses.
    """
    problem, exact = judge.problem, judge.exact_rounding
    weights, x, y, precision = problem.weights, problem.x, problem.y, problem.precision
    # Forces are as many times errors as precisions are.
    most = 1.0 if precision is None else max(1.0, float(np.max(precision)))
    hidden = equilibrium_activities(weights, x, y, precision)[:-1]
    there = layered_rounding(judge.network, [*hidden, y], judge.u, precision)
    return Expected(
        judge.loss,
        known_loss_off(problem, judge),
        equilibrated_energy(weights, x, y, precision),
        most * exact.energy + sum(there.energies),
        [*equilibrated_energy_gradient(weights, x, y, precision)],
        tuple(most * a + b for a, b in zip(exact.carried, there.gradients, strict=True)),
        0.0,
        most * exact.residual / judge.start,
    )


def _inferred(judge: InferenceJudge, result: InferenceResult) -> Expected:
    """``∂𝓕/∂θ`` where inference ended."""
    rounding, begun = judge.rounding(result), judge.forward_rounding
    residual = judge.force(result) / judge.start
    return Expected(
        judge.loss,
        begun.loss,
        judge.energy(result),
        sum(rounding.energies),
        judge.gradients(result),
        judge.gradients_off(result),
        residual,
        # It is relative to a start that rounds, too.
        (rounding.residual + residual * begun.residual) / judge.start,
    )
