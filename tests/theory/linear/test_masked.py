"""Linear networks whose outputs have precisions (2.1, 2.2) against a dense minimum."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.theory.arrays import chain
from pcbench.theory.linear.equilibrium import (
    equilibrated_energy,
    equilibrated_energy_gradient,
    equilibrium_activities,
    equilibrium_errors,
    output_covariance,
    residuals,
)
from pcbench.theory.nonlinear.layered import Layered, activity_residuals, layered_energies
from tests.helpers import linear_definitions as definitions
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import problems, random_problem, seeds

quick = settings(max_examples=30, deadline=None)


def masked_equilibrium(weights, x, y, precision):
    """``z_0 … z_{L-1}`` and ``e_L``."""
    activities = equilibrium_activities(weights, x, y, precision)
    return activities[:-1], equilibrium_errors(weights, x, y, precision)[-1]


def draw_precision(y, seed):
    """Draw precisions over two orders of magnitude, about a third of them 0."""
    rng = np.random.default_rng(seed)
    return 10 ** rng.uniform(-1, 1, y.shape) * (rng.random(y.shape) < 0.7)


@quick
@given(problem=problems(), seed=seeds)
def test_equilibrium_is_the_dense_minimum(problem, seed):
    weights, x, y = problem.tensors
    precision = draw_precision(problem.y, seed)
    # The definitions weigh errors by what they call observed, which may be any numbers.
    dense = definitions.equilibrium(weights, x, y, y.new_tensor(precision))
    expected = [part.numpy() for part in dense]
    activities, output_errors = masked_equilibrium(*problem.parts, precision)
    assert apart(activities, expected[:-1]) < SAME
    true_errors = expected[-1] - expected[-2] @ problem.weights[-1].T
    seen = precision > 0
    assert apart(output_errors[seen], true_errors[seen]) < SAME


@quick
@given(problem=problems(), seed=seeds)
def test_energy_is_the_energy_at_the_equilibrium_where_nothing_pulls(problem, seed):
    weights, x, y = problem.parts
    precision = draw_precision(y, seed)
    activities, output_errors = masked_equilibrium(weights, x, y, precision)
    network = Layered(weights, None, "identity", "post")
    energies = layered_energies(network, [*activities, y], precision)
    energy = equilibrated_energy(weights, x, y, precision)
    assert apart(energy, energies.sum()) < SAME
    assert apart(np.sum(precision * output_errors**2) / (2 * len(x)), energies[-1]) < SAME
    for residual in activity_residuals(network, [*activities, y], precision):
        assert np.abs(residual).max() < SAME


@quick
@given(problem=problems(), seed=seeds)
def test_precisions_of_0_and_1_leave_outputs_out_of_theorem_1(problem, seed):
    weights, x, y = problem.parts
    observed = draw_precision(y, seed) > 0
    covariance, expected = output_covariance(weights), 0.0
    for seen, residual in zip(observed, residuals(weights, x, y), strict=True):
        part = residual[seen]
        expected += part @ np.linalg.solve(covariance[np.ix_(seen, seen)], part) / (2 * len(x))
    for precision in (observed, observed.astype(float)):
        assert apart(equilibrated_energy(weights, x, y, precision), expected) < SAME


@quick
@given(problem=problems())
def test_precisions_of_1_are_theorem_1(problem):
    weights, x, y = problem.parts
    expected = equilibrated_energy(weights, x, y)
    assert apart(equilibrated_energy(weights, x, y, 1.0), expected) < SAME
    activities, output_errors = masked_equilibrium(weights, x, y, np.ones(y.shape[1]))
    assert apart(activities, equilibrium_activities(weights, x, y)[:-1]) < SAME
    assert apart(output_errors, equilibrium_errors(weights, x, y)[-1]) < SAME


@quick
@given(problem=problems(), nothing=st.sampled_from([np.nan, np.inf, -1e300]), seed=seeds)
def test_targets_that_are_not_observed_leak_nowhere(problem, nothing, seed):
    weights, x, y = problem.parts
    precision = draw_precision(y, seed)
    blank = np.where(precision > 0, y, nothing)
    activities, output_errors = masked_equilibrium(weights, x, y, precision)
    found, found_errors = masked_equilibrium(weights, x, blank, precision)
    assert all(np.array_equal(a, b) for a, b in zip(found, activities, strict=True))
    assert np.array_equal(found_errors, output_errors)
    assert equilibrated_energy(weights, x, blank, precision) == equilibrated_energy(
        weights, x, y, precision
    )
    # What its docstring says of the errors there.
    prediction = x @ chain(weights, len(weights), 1).T
    target = np.where(precision > 0, y, prediction)
    assert apart(target - activities[-1] @ weights[-1].T, output_errors) < SAME


def test_without_any_target_the_network_predicts():
    weights, x, y = random_problem((4, 5, 3, 2)).parts
    activities, _ = masked_equilibrium(weights, x, np.full_like(y, np.nan), 0.0)
    expected = [x @ chain(weights, l, 1).T for l in range(3)]
    assert apart(activities, expected) < SAME
    assert equilibrated_energy(weights, x, np.full_like(y, np.nan), 0.0) == 0


def test_ever_higher_precision_is_all_but_a_constraint():
    """The output then costs nothing: ``𝓕* = ½ rᵀ T⁻¹ r`` where the last layer can fit anything."""
    weights, x, y = random_problem((3, 6, 6, 2)).parts
    r = residuals(weights, x, y)
    constraint = output_covariance(weights) - np.eye(2)
    expected = np.sum(r * np.linalg.solve(constraint, r.T).T) / (2 * len(x))
    assert apart(equilibrated_energy(weights, x, y, 1e10), expected) < 1e-7


@quick
@given(problem=problems(), seed=seeds)
def test_the_gradient_is_that_of_the_energy(problem, seed):
    weights, x, y = problem.parts
    precision = draw_precision(y, seed)
    gradient = equilibrated_energy_gradient(weights, x, y, precision)
    rng, h = np.random.default_rng([seed, 1]), 1e-5
    direction = [rng.standard_normal(weight.shape) for weight in weights]
    along = sum(np.sum(g * v) for g, v in zip(gradient, direction, strict=True))

    def energy(t):
        moved = [w + t * h * v for w, v in zip(weights, direction, strict=True)]
        return equilibrated_energy(moved, x, y, precision)

    # Of fourth order: what is left is h⁴ and the rounding of energies over h.
    slope = (8 * (energy(1) - energy(-1)) - (energy(2) - energy(-2))) / (12 * h)
    size = np.sqrt(sum(np.sum(g**2) for g in gradient)) * np.sqrt(
        sum(np.sum(v**2) for v in direction)
    )
    assert abs(along - slope) <= 1e-6 * (size + energy(0))


@quick
@given(problem=problems())
def test_the_gradient_at_precisions_of_1_is_that_of_theorem_1(problem):
    weights, x, y = problem.parts
    expected = equilibrated_energy_gradient(weights, x, y)
    assert apart(equilibrated_energy_gradient(weights, x, y, 1.0), expected) < SAME


@quick
@given(problem=problems(), seed=seeds)
def test_targets_that_are_not_observed_have_no_part_in_the_gradient(problem, seed):
    weights, x, y = problem.parts
    precision = draw_precision(y, seed)
    blank = np.where(precision > 0, y, np.nan)
    for ours, theirs in zip(
        equilibrated_energy_gradient(weights, x, blank, precision),
        equilibrated_energy_gradient(weights, x, y, precision),
        strict=True,
    ):
        assert np.array_equal(ours, theirs)
