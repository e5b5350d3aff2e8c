"""Inference by gradient descent: where it goes, how fast, when it stops."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from pydantic import TypeAdapter, ValidationError

from pcbench.contract import ExactInference, GradientInference, InferenceSettings
from pcbench.networks import Origin, PenultimateOnly
from pcbench.theory.linear.equilibrium import (
    activity_hessian,
    contraction_rate,
    equilibrated_energy,
    equilibrium_activities,
    prediction_errors,
)
from tests.backends.torch import answers
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import problem_at, problems, random_problem
from tests.theory.linear.forces import feedforward_residual

PROBLEM = random_problem((4, 5, 6, 3))
LARGEST = float(np.linalg.eigvalsh(activity_hessian(PROBLEM.weights))[-1])


def descend(problem, dtype="float64", **settings):
    return answers.ask(problem, dtype, GradientInference(**settings))


@settings(max_examples=30, deadline=None)
@given(problem=problems(min_layers=2, max_layers=4, gains=(0.1, 0.5, 1.0)))
def test_descent_ends_at_the_equilibrium_of_the_theory(problem):
    answer = answers.ask(problem, settings=answers.steady(problem, residual=1e-7))
    assert answer.converged
    assert answer.residual <= 1e-7
    assert apart(answer.activities, equilibrium_activities(*problem.parts)) < 1e-4
    # The energy is stationary there: its error is of second order.
    assert apart(answer.energy, equilibrated_energy(*problem.parts)) < 1e-9
    np.testing.assert_array_equal(answer.activities[0], problem.x)
    np.testing.assert_array_equal(answer.activities[-1], problem.y)


@settings(max_examples=30, deadline=None)
@given(problem=problems(min_layers=2, max_layers=4, gains=(0.5, 1.0)))
def test_the_reported_residual_is_that_of_the_activities_returned(problem):
    answer = answers.ask(problem, settings=answers.steady(problem, residual=0.1))
    start = feedforward_residual(*problem.parts)
    assert answer.residual == pytest.approx(answer.true_residual(problem) / start)


def test_energies_are_those_of_the_activities_returned():
    answer = descend(PROBLEM, max_steps=7)
    np.testing.assert_allclose(answer.energies, answer.recomputed, rtol=1e-12)


def test_each_step_is_one_of_gradient_descent_from_the_feedforward_activities():
    forward = [PROBLEM.x]
    for weight in PROBLEM.weights[:-1]:
        forward.append(forward[-1] @ weight.T)
    z = [*forward, PROBLEM.y]
    for _ in range(3):
        e = prediction_errors(PROBLEM.weights, z)
        slopes = [
            error - after @ weight
            for weight, (error, after) in zip(PROBLEM.weights[1:], pairwise(e), strict=True)
        ]
        hidden = [a - 0.05 * slope for a, slope in zip(z[1:-1], slopes, strict=True)]
        z = [PROBLEM.x, *hidden, PROBLEM.y]
    answer = descend(PROBLEM, step=0.05, max_steps=3)
    assert (answer.steps, answer.converged) == (3, False)
    assert apart(answer.activities, z) < SAME


def test_the_distance_shrinks_at_the_rate_of_the_theory():
    step = 1.5 / LARGEST
    goal = equilibrium_activities(*PROBLEM.parts)
    distances = []
    for steps in (200, 220):
        reached = descend(PROBLEM, step=step, max_steps=steps, residual=1e-15).activities
        squares = [np.sum((a - b) ** 2) for a, b in zip(reached[1:-1], goal[1:-1], strict=True)]
        distances.append(math.sqrt(sum(squares)))
    rate = (distances[1] / distances[0]) ** (1 / 20)
    assert rate == pytest.approx(contraction_rate(PROBLEM.weights, step), rel=1e-3)


@pytest.mark.parametrize("dtype", answers.DTYPES)
def test_a_step_beyond_stability_ends_unconverged_before_the_budget_is_spent(dtype):
    answer = descend(PROBLEM, dtype, step=3 / LARGEST, max_steps=100_000)
    assert not answer.converged
    assert answer.steps < 100_000
    assert not math.isfinite(answer.residual)


def test_a_step_just_inside_stability_still_converges():
    assert descend(PROBLEM, step=1.9 / LARGEST).converged
    assert not descend(PROBLEM, step=2.1 / LARGEST).converged


@pytest.mark.parametrize("budget", [1, 2, 17])
def test_no_more_steps_are_taken_than_the_budget(budget):
    answer = descend(PROBLEM, step=0.01, max_steps=budget)
    assert (answer.steps, answer.converged) == (budget, False)
    assert math.isfinite(answer.residual)


def test_a_looser_residual_is_reached_in_fewer_steps():
    loose, tight = (descend(PROBLEM, step=1 / LARGEST, residual=r) for r in (1e-2, 1e-4))
    assert loose.steps < tight.steps
    assert tight.residual <= 1e-4 < loose.residual <= 1e-2


@pytest.mark.parametrize("initialisation", [Origin(), PenultimateOnly()])
def test_where_nothing_pulls_inference_is_over_before_it_begins(initialisation):
    """With W_L = 0 the feedforward activities are the equilibrium."""
    answer = descend(problem_at(initialisation, (3, 4, 5, 2)))
    assert (answer.steps, answer.residual, answer.converged) == (0, 0, True)


@pytest.mark.parametrize("dtype", answers.DTYPES)
def test_weights_that_are_not_numbers_end_it_at_once(dtype):
    problem = random_problem((3, 4, 2))
    problem.weights[0][0, 0] = np.nan
    answer = descend(problem, dtype)
    assert not answer.converged
    assert answer.steps == 0


@pytest.mark.parametrize("setting", ["step", "max_steps", "residual"])
@pytest.mark.parametrize("value", [0, -1, "much"])
def test_settings_are_positive_numbers(setting, value):
    with pytest.raises(ValidationError, match=setting):
        GradientInference(**{setting: value})


def test_a_residual_of_one_would_be_reached_without_inference_and_is_refused():
    with pytest.raises(ValidationError, match="less than 1"):
        GradientInference(residual=1.0)


def test_engines_are_told_apart_by_name():
    written = TypeAdapter(InferenceSettings)
    assert written.validate_python({"engine": "exact"}) == ExactInference()
    assert written.validate_python({"engine": "gradient", "step": 0.2}) == GradientInference(
        step=0.2
    )
    for mistake in ({"engine": "newton"}, {"engine": "exact", "step": 0.1}, {"step": 0.1}):
        with pytest.raises(ValidationError):
            written.validate_python(mistake)


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        GradientInference().step = 1.0
