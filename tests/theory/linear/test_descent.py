"""The closed form of gradient inference against taking the steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcbench.theory.linear.equilibrium import Descent, contraction_rate, equilibrium_activities
from pcbench.theory.nonlinear.layered import (
    Layered,
    activity_residuals,
    feedforward,
    layered_energies,
)
from tests.helpers.linear_problems import problems


def taken(problem, step, steps):
    """Take the steps; return residual, energy and the activities."""
    network = Layered(problem.weights, None, "identity", "post")
    *hidden, _ = feedforward(network, problem.x)
    activities = [*hidden, problem.y]
    for _ in range(steps):
        slopes = activity_residuals(network, activities)
        for layer, slope in enumerate(slopes, start=1):
            activities[layer] = activities[layer] - step * slope
    slopes = activity_residuals(network, activities)
    residual = np.sqrt(sum(np.sum(slope**2) for slope in slopes))
    return residual, layered_energies(network, activities).sum(), activities


@given(
    problems(min_layers=2),
    st.integers(0, 12),
    st.sampled_from([0.01, 0.1, 0.3, 1.1]),
)
def test_residual_energy_and_distance_after_any_steps_of_any_size(problem, steps, part):
    descent = Descent.of(problem.weights, problem.x, problem.y)
    step = part * descent.largest_step
    residual, energy, activities = taken(problem, step, steps)
    at_rest = equilibrium_activities(problem.weights, problem.x, problem.y)
    distance = np.sqrt(
        sum(np.sum((a - b) ** 2) for a, b in zip(activities[1:-1], at_rest[1:-1], strict=True))
    )
    size = 1 + max(np.abs(z).max() for z in activities)
    close = {"rel": 1e-8, "abs": 1e-10 * size**2 * max(1.0, descent.curvatures[-1])}
    assert descent.residual(step, steps) == pytest.approx(residual, **close)
    assert descent.energy(step, steps) == pytest.approx(energy, **close)
    assert descent.distance(step, steps) == pytest.approx(distance, **close)


@given(problems(min_layers=2))
def test_the_best_step_contracts_as_the_condition_number_says(problem):
    descent = Descent.of(problem.weights, problem.x, problem.y)
    kappa = descent.condition
    assert descent.rate(descent.best_step) == pytest.approx((kappa - 1) / (kappa + 1), abs=1e-9)
    assert descent.rate(descent.best_step) <= descent.rate(0.9 * descent.best_step) + 1e-12
    assert descent.rate(1.001 * descent.largest_step) > 1
    assert descent.rate(descent.best_step) == pytest.approx(
        contraction_rate(problem.weights, descent.best_step)
    )
