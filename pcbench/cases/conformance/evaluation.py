"""Whether values and gradients are what the definitions say, anywhere, and fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench.cases.conformance.subject import JudgedSubject
from pcbench.checks import Check
from pcbench.contract import DType
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import Array, Evaluation
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
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.undecidable import UndecidableError

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


def evaluation(subject: JudgedSubject, rng: np.random.Generator) -> Iterator[Check]:
    """Ask for everything that every backend knows, and hold it against its definition."""
    problem, judge, n = subject.problem, subject.judge, len(subject.problem.x)
    activities = anywhere(problem, rng, subject.dtype)
    answers = subject.evaluate(activities)
    made = evaluated(judge, activities, answers)
    form = next(made)
    yield form
    if not form.passed:
        return
    yield from made
    # A batch is no more than several samples.
    yield INDEPENDENT.distance(
        "prediction of one sample alone",
        subject.predict(problem.x[n - 1 :]),
        answers.prediction[n - 1 :],
        2 * prediction_off(judge),
        f"sample {n}",
    )
    if is_smooth(problem.network):  # differences see the derivative, and no kink
        yield _by_differences("loss", subject, line(problem, subject.dtype, rng))
        along = line(problem, subject.dtype, rng, activities)
        yield _by_differences("energy", subject, along, activities)


def prediction_off(judge: InferenceJudge) -> float:
    """Bound the rounding of ``ŷ``, of a linear network in either order of its products."""
    forward = judge.forward_rounding.prediction
    linear = judge.problem.network.is_linear
    return max(forward, judge.exact_rounding.prediction) if linear else forward


def evaluated(
    judge: InferenceJudge, activities: list[Array], answers: Evaluation
) -> Iterator[Check]:
    """Hold answers about a batch, and about activities ``z_0 … z_L``, against the definitions.

    The first check is that they are well-formed; where they are not, it is the only one.
    """
    problem, network, precision = judge.problem, judge.network, judge.problem.precision
    form = well_formed("malformed answers", answers.due(problem))
    yield form
    if not form.passed:
        return
    there = layered_rounding(network, activities, judge.u, precision)
    defined = Basis(DEFINITION, f"rounding at u = {judge.u:.2g} in this network (theory.md 4)")
    due = feedforward(network, problem.x)[-1]
    yield defined.distance("prediction", answers.prediction, due, prediction_off(judge))
    loss = layered_loss(network, problem.x, problem.y, precision)
    yield defined.approx("loss", answers.loss, loss, known_loss_off(problem, judge))
    yield defined.each_close(
        "energies at given activities",
        answers.energies,
        layered_energies(network, activities, precision),
        there.energies,
        layers(len(there.energies)),
    )
    gradients, offs = backpropagated(problem, judge.dtype)
    names = array_names(gradients)
    yield from replace(defined, source=BACKPROPAGATED).distances(
        "gradients of the loss", answers.loss_gradients, gradients, offs, names
    )
    weights, biases = energy_gradients(network, activities, precision)
    gradients, offs = [*weights, *(biases or [])], of_parameters(there, problem)
    yield from replace(defined, source=LOCAL).distances(
        "gradients of the energy", answers.energy_gradients, gradients, offs, names
    )


Line = dict[int, Problem]
"""Problems that differ in one array of parameters, by multiple of a step; 0 is the centre."""


def step_of(along: Line) -> list[Array]:
    """The step of a line, of every array of parameters; all but one of them are zero."""
    pairs = zip(along[1].parameters, along[0].parameters, strict=True)
    return [after - before for after, before in pairs]


def _by_differences(
    what: str, subject: JudgedSubject, along: Line, activities: list[Array] | None = None
) -> Check:
    """Compare a gradient with differences of the loss, or of the energy at held activities."""
    step, dtype = step_of(along), subject.dtype
    subjects = {k: subject.at(there) for k, there in along.items()}
    # Rounding is largest at the ends: its bounds are norms, and so convex along a line.
    centre, *ends = (along[k] for k in (0, REACH[0], REACH[-1]))
    if activities is None:
        values = {k: float(one.loss()) for k, one in subjects.items()}
        off = max(loss_off(there, dtype) for there in ends)
        _, gradients_off = backpropagated(centre, dtype)
        gradients = subjects[0].loss_gradients()
    else:
        values = {k: float(one.energies(activities).sum()) for k, one in subjects.items()}
        here, *there = (
            layered_rounding(at.layered, activities, subject.judge.u, at.precision)
            for at in (centre, *ends)
        )
        off, gradients_off = max(sum(end.energies) for end in there), of_parameters(here, centre)
        gradients = subjects[0].energy_gradients(activities)
    slope, left_out = first(values)
    seen = float(sum(np.sum(g * part) for g, part in zip(gradients, step, strict=True)))
    moved = [float(np.linalg.norm(part)) for part in step]
    off = left_out + CARRIED * off + sum(a * b for a, b in zip(gradients_off, moved, strict=True))
    name = f"gradients of the {what} by differences"
    return Basis(DIFFERENCES, BY_DIFFERENCES).approx(name, seen, slope, off)


def line(
    problem: Problem,
    dtype: DType,
    rng: np.random.Generator,
    activities: list[Array] | None = None,
    *,
    short: bool = False,
) -> Line:
    """Draw a line through a problem, for derivatives along it.

    It goes in steps that are whole multiples of a grid on which the whole line can be represented
    in the dtype: nothing is rounded but the values.
    Along it no potential moves by more than the sixth root of the roundoff a step, which balances
    what differences leave out against what they magnify; and parameters do not grow so large that
    those at the centre lose more than half their digits on the common grid. Raises an
    ``UndecidableError`` if parameters are so large that no such step is left.

    ``activities`` are held; those of a forward pass follow, if not given. On a ``short`` line
    weights move by no more than potentials, either: where activities relax, their equilibrium
    depends on weights by themselves.
    """
    parameters, u, furthest = problem.parameters, unit_roundoff(dtype), max(REACH)
    chosen = int(rng.integers(len(parameters)))
    centre = parameters[chosen]
    direction = rng.standard_normal(centre.shape)
    speed = _speed(problem, chosen, direction, activities)
    if short:
        speed = max(speed, float(np.linalg.norm(direction)))
    largest, longest = float(np.abs(centre).max()), float(np.abs(direction).max())
    # Where activities are tiny, what moves potentials that far may not even fit the dtype.
    length = min(u ** (1 / 6) / speed, (largest or 1.0) / u**0.5 / (furthest * longest))
    step = length * direction
    # On a grid on which every point of the line fits the dtype.
    most = largest + furthest * float(np.abs(step).max())
    grid = 2.0 ** np.ceil(np.log2(most)) * u * 2
    centre, step = np.round(centre / grid) * grid, np.round(step / grid) * grid
    if not step.any():
        raise UndecidableError(
            f"a step that moves no potential too far is lost in the rounding of parameters that "
            f"reach {float(np.abs(centre).max()):.2g}"
        )

    return {
        k: problem.at([*parameters[:chosen], centre + k * step, *parameters[chosen + 1 :]])
        for k in (0, *REACH)
    }


def first(values: Mapping[int, Any]) -> tuple[Any, float]:
    r"""``D_1``, of numbers or arrays, and how far it may be from the derivative, in the norm.

    With ``f_k`` at ``θ + k δ``, differences of fourth order are

    .. math::
        D_m = \frac{8 (f_m - f_{-m}) - (f_{2m} - f_{-2m})}{12 m} ,

    and ``D_1`` leaves out a fifteenth of ``D_1 - D_2``, up to sixth order, which is a sixteenth of
    ``D_2 - D_4``. The whole of the first and a sixteenth of the second are allowed: where one
    happens to vanish, the other does not. What values are off by, they magnify by up to ``3/2``.
    """
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
