"""Whether values and gradients are what the definitions say, anywhere, and fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pcbench.checks import Check
from pcbench.contract import Backend, DType
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import Array, Evaluation, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.differences import first_derivative
from pcbench.judges.inference import InferenceJudge, of_parameters
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.reported import DEFINITION, array_names, layers, well_formed
from pcbench.judges.training.step_expected import backpropagated, known_loss_off, loss_off
from pcbench.theory.nonlinear import layered
from pcbench.theory.nonlinear.layered import (
    energy_gradients,
    feedforward,
    layered_energies,
    layered_loss,
)
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.layered import LayeredRounding, layered_rounding
from pcbench.theory.rounding.range import UndecidableError

LOCAL = "-(1/N) Σ_n (∂f_l/∂θ_l)ᵀ (π e)_l (theory.md 1)"
BACKPROPAGATED = "the definition of the loss, differentiated (theory.md 1, 4.5)"
DIFFERENCES = "a gradient is the derivative of the backend's own values"
INDEPENDENT = Basis(
    "samples do not know of each other (theory.md 1)",
    "what rounding may do to either (theory.md 4)",
)
# How far drawn activities are from those of a forward pass.
_AWAY = 0.5
REACH = (-8, -4, -2, -1, 1, 2, 4, 8)
"""Multiples of the step at which a line is evaluated, beside its centre."""
CARRIED = 2 * (8 + 1) / 12
"""What a bound on values becomes of their difference."""
BY_DIFFERENCES = "what differences of three steps leave out, and rounding (theory.md 4)"
"""Where the tolerance of a derivative by differences comes from."""
_PROBE = 1e-6


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
    if is_smooth(problem.network):  # differences see the derivative, and no kink
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
        return Basis(source, f"rounding at u = {self._u:.2g} in this network (theory.md 4)")


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


@dataclass(frozen=True, slots=True)
class Line:
    r"""A line of problems that differ in one array of parameters, for derivatives along it.

    It goes in steps ``δ`` that are whole multiples of a grid on which the whole line can be
    represented: nothing is rounded but the values. With ``f_k`` at ``θ + k δ``, differences of
    fourth order are

    .. math::
        D_m = \frac{8 (f_m - f_{-m}) - (f_{2m} - f_{-2m})}{12 m} ,

    and ``D_1`` leaves out a fifteenth of ``D_1 - D_2``, up to sixth order, which is a sixteenth of
    ``D_2 - D_4``. The whole of the first and a sixteenth of the second are allowed: where one
    happens to vanish, the other does not. What values are off by, they magnify by up to ``3/2``.
    """

    problems: dict[int, Problem]
    """By multiple of the step, 0 for the centre."""
    step: list[Array]
    """``δ``, one array for each of the parameters; all but one of them are zero."""

    @property
    def centre(self) -> Problem:
        """Where the derivative is."""
        return self.problems[0]

    @property
    def ends(self) -> tuple[Problem, Problem]:
        """Where rounding is largest: its bounds are norms, and so convex along a line."""
        return self.problems[REACH[0]], self.problems[REACH[-1]]

    def along(self, gradient: list[Array]) -> float:
        """The derivative that a gradient has along a step."""
        return float(sum(np.sum(g * part) for g, part in zip(gradient, self.step, strict=True)))


def line(
    problem: Problem,
    dtype: DType,
    rng: np.random.Generator,
    activities: list[Array] | None = None,
    *,
    short: bool = False,
) -> Line:
    """Draw a line through a problem, on the grid of a dtype.

    Along it no potential moves by more than the sixth root of the roundoff a step, which balances
    what differences leave out against what they magnify; and parameters do not grow so large that
    those at the centre lose more than half their digits on the common grid.

    Parameters
    ----------
    activities
        That are held; those of a forward pass follow, if not given.
    short
        Whether weights are to move by no more than potentials, either: where activities relax,
        their equilibrium depends on weights by themselves.

    Raises
    ------
    UndecidableError
        If parameters are so large that no such step is left on the grid.
    """
    parameters = problem.parameters
    chosen = int(rng.integers(len(parameters)))
    direction = rng.standard_normal(parameters[chosen].shape)
    speed = _speed(problem, chosen, direction, activities)
    if short:
        speed = max(speed, float(np.linalg.norm(direction)))
    u = unit_roundoff(dtype)
    # Where activities are tiny, what moves potentials that far may not even fit the dtype.
    most = (float(np.abs(parameters[chosen]).max()) or 1.0) / u**0.5
    length = min(u ** (1 / 6) / speed, most / (max(REACH) * float(np.abs(direction).max())))
    centre, step = _on_a_grid(parameters[chosen], length * direction, dtype)
    if not step.any():
        raise UndecidableError(
            f"a step that moves no potential too far is lost in the rounding of parameters that "
            f"reach {float(np.abs(centre).max()):.2g}"
        )

    def at(multiple: int) -> Problem:
        moved = [*parameters]
        moved[chosen] = centre + multiple * step
        return problem.at(moved)

    steps = [step if i == chosen else np.zeros_like(p) for i, p in enumerate(parameters)]
    return Line({k: at(k) for k in (0, *REACH)}, steps)


def first(values: Mapping[int, Any]) -> tuple[Any, float]:
    """``D_1``, of numbers or arrays, and how far it may be from the derivative, in the norm."""
    once, twice, wide = (first_derivative(values, every=m) for m in (1, 2, 4))
    off = float(np.linalg.norm(once - twice)) + float(np.linalg.norm(twice - wide)) / 16
    return once, off


def _speed(
    problem: Problem, chosen: int, direction: Array, activities: list[Array] | None
) -> float:
    """How fast the fastest potential moves along the direction, or 1 if none does."""

    def potentials(there: Problem) -> list[Array]:
        network = there.layered
        return layered.potentials(network, activities or feedforward(network, there.x))

    moved = [*problem.parameters]
    probe = _PROBE * (1 + float(np.abs(moved[chosen]).max())) / float(np.abs(direction).max())
    moved[chosen] = moved[chosen] + probe * direction
    pairs = zip(potentials(problem), potentials(problem.at(moved)), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs) / probe or 1.0


def _on_a_grid(array: Array, step: Array, dtype: DType) -> tuple[Array, Array]:
    """Round both so that every point of the line fits the dtype."""
    most = float(np.abs(array).max()) + max(REACH) * float(np.abs(step).max())
    grid = 2.0 ** np.ceil(np.log2(most)) * unit_roundoff(dtype) * 2
    return np.round(array / grid) * grid, np.round(step / grid) * grid
