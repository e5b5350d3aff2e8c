"""Whether values and gradients are what the definitions say, anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pcbench.cases.conformance.differences import BY_DIFFERENCES, CARRIED, Line, first, line
from pcbench.checks import Check
from pcbench.contract import Backend, DType
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import Array, Evaluation, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge, of_parameters
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.reported import DEFINITION, array_names, layers, well_formed
from pcbench.judges.training.step_expected import backpropagated, known_loss_off, loss_off
from pcbench.theory.nonlinear.layered import (
    energy_gradients,
    feedforward,
    layered_energies,
    layered_loss,
)
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.layered import LayeredRounding, layered_rounding

LOCAL = "-(1/N) Σ_n (∂f_l/∂θ_l)ᵀ (π e)_l (theory.md 1)"
BACKPROPAGATED = "the definition of the loss, differentiated (theory.md 1, 4.5)"
DIFFERENCES = "a gradient is the derivative of the backend's own values"
INDEPENDENT = Basis(
    "samples do not know of each other (theory.md 1)",
    "what rounding may do to either (theory.md 4)",
)
# How far drawn activities are from those of a forward pass.
_AWAY = 0.5


def anywhere(problem: Problem, rng: np.random.Generator, dtype: DType) -> list[Array]:
    """Draw activities at no equilibrium, the input and the targets at their ends."""
    forward = feedforward(problem.layered, problem.x)
    hidden = [z + _AWAY * rng.standard_normal(z.shape) for z in forward[1:-1]]
    return [problem.x, *rounded(hidden, dtype), problem.y]


def evaluation(
    backend: Backend[Any], problem: Problem, rng: np.random.Generator
) -> Iterator[Check]:
    """Ask for everything that every backend knows, and hold it against its definition."""
    subject, activities = Subject(backend, problem), anywhere(problem, rng, backend.dtype)
    judge = EvaluationJudge(problem, activities, backend.dtype)
    answers = subject.evaluate(activities)
    well_formed = judge.well_formed(answers)
    yield well_formed
    if not well_formed.passed:
        return
    yield from judge.checks(answers)
    yield _one_by_one(subject, answers, judge.prediction_off)
    if judge.is_smooth:
        yield _loss_differences(backend, line(problem, backend.dtype, rng))
        yield _energy_differences(
            backend, line(problem, backend.dtype, rng, activities), activities
        )


class EvaluationJudge:
    """Holds answers about a batch, and about activities ``z_0 … z_L``, against the definitions."""

    def __init__(self, problem: Problem, activities: list[Array], dtype: DType) -> None:
        self._problem, self._activities, self._dtype = problem, activities, dtype
        self._network, self._u = problem.layered, unit_roundoff(dtype)
        self._rounding = InferenceJudge(problem, dtype)

    @property
    def prediction_off(self) -> float:
        """Bound on the rounding of ``ŷ``, of a linear network in either order of its products."""
        forward = self._rounding.forward_rounding.prediction
        if not self._problem.network.is_linear:
            return forward
        return max(forward, self._rounding.exact_rounding.prediction)

    @property
    def is_smooth(self) -> bool:
        """Whether differences see the derivative, and no kink."""
        return is_smooth(self._problem.network)

    def well_formed(self, answers: Evaluation) -> Check:
        """Check that every array has the shape that is due, and holds numbers."""
        return well_formed("malformed answers", answers.due(self._problem))

    def checks(self, answers: Evaluation) -> Iterator[Check]:
        """Judge a well-formed answer."""
        problem, precision = self._problem, self._problem.precision
        there = layered_rounding(self._network, self._activities, self._u, precision)
        defined = self._expect(DEFINITION)
        yield defined.distance(
            "prediction",
            answers.prediction,
            feedforward(self._network, problem.x)[-1],
            self.prediction_off,
        )
        yield defined.approx(
            "loss",
            float(answers.loss),
            layered_loss(self._network, problem.x, problem.y, precision),
            known_loss_off(problem, self._rounding),
        )
        yield defined.each_close(
            "energies at given activities",
            answers.energies,
            layered_energies(self._network, self._activities, precision),
            there.energies,
            layers(len(there.energies)),
        )
        due, off = backpropagated(problem, self._dtype)
        names = array_names(due)
        yield from self._expect(BACKPROPAGATED).distances(
            "gradients of the loss", answers.loss_gradients, due, off, names
        )
        weights, biases = energy_gradients(self._network, self._activities, precision)
        due, off = [*weights, *(biases or [])], of_parameters(there, problem)
        yield from self._expect(LOCAL).distances(
            "gradients of the energy", answers.energy_gradients, due, off, names
        )

    def _expect(self, source: str) -> Basis:
        derivation = f"rounding at u = {self._u:.2g} in this network (theory.md 4)"
        return Basis(source, derivation)


def _one_by_one(subject: Subject, answers: Evaluation, off: float) -> Check:
    """Ask for the prediction of the last sample: a batch is no more than several of them."""
    n = len(subject.problem.x)
    return INDEPENDENT.distance(
        "prediction of one sample alone",
        subject.predict(subject.problem.x[n - 1 :]),
        answers.prediction[n - 1 :],
        2 * off,
        f"sample {n}",
    )


def _loss_differences(backend: Backend[Any], along: Line) -> Check:
    """Compare the gradient of the loss with differences of the loss."""
    values = {k: float(Subject(backend, there).loss()) for k, there in along.problems.items()}
    offs = [loss_off(there, backend.dtype) for there in along.ends]
    _, gradients_off = backpropagated(along.centre, backend.dtype)
    gradients = Subject(backend, along.centre).loss_gradients()
    return _agree("loss", along, gradients, values, max(offs), gradients_off)


def _energy_differences(backend: Backend[Any], along: Line, activities: list[Array]) -> Check:
    """Compare the gradient of the energy with differences of the energy, activities held."""
    u = unit_roundoff(backend.dtype)
    precision = along.centre.precision

    def rounding(there: Problem) -> LayeredRounding:
        return layered_rounding(there.layered, activities, u, precision)

    subjects = {k: Subject(backend, there) for k, there in along.problems.items()}
    values = {k: float(subject.energies(activities).sum()) for k, subject in subjects.items()}
    offs = [sum(rounding(there).energies) for there in along.ends]
    allowed = of_parameters(rounding(along.centre), along.centre)
    gradients = subjects[0].energy_gradients(activities)
    return _agree("energy", along, gradients, values, max(offs), allowed)


def _agree(
    what: str,
    along: Line,
    gradients: list[Array],
    values: dict[int, float],
    off: float,
    gradients_off: tuple[float, ...],
) -> Check:
    slope, left_out = first(values)
    moved = [float(np.linalg.norm(part)) for part in along.step]
    own = sum(a * b for a, b in zip(gradients_off, moved, strict=True))
    return Basis(DIFFERENCES, BY_DIFFERENCES).approx(
        f"gradients of the {what} by differences",
        along.along(gradients),
        float(slope),
        left_out + CARRIED * off + own,
    )
