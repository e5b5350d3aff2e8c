"""Every closed form against the definitions, on random networks."""

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import minimize

from pcbench.networks import Origin, PenultimateOnly, ZeroRank
from pcbench.theory.linear.equilibrium import equilibrated_energy_gradient, loss_gradient
from tests.helpers import linear_definitions as definitions
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import points, problem_at, problems, random_problem, widths
from tests.theory import theory_comparisons as comparisons

quick = settings(max_examples=40, deadline=None)
slower = settings(max_examples=20, deadline=None)

origins = points([Origin()], widths(min_layers=2, max_layers=5, max_width=3))
zero_rank_saddles = origins | points(
    [PenultimateOnly(), ZeroRank()],
    widths(min_layers=3, max_layers=5, min_width=2, max_width=3),
)


def named(functions):
    return pytest.mark.parametrize("comparison", functions, ids=lambda f: f.__name__)


def test_the_dense_minimum_of_the_tests_is_the_one_that_an_optimiser_finds():
    weights, x, y = random_problem((3, 4, 2, 3), samples=4).tensors

    def energy(hidden):
        hidden = x.new_tensor(hidden.reshape(len(x), -1))
        return float(definitions.energy(weights, definitions.between(weights, x, hidden, y)))

    found = minimize(energy, np.zeros(4 * (4 + 2)), method="BFGS", options={"gtol": 1e-6})
    assert apart(definitions.equilibrated_energy(weights, x, y), found.fun) < 1e-8


@named(
    [
        comparisons.energy,
        comparisons.masked_energy,
        comparisons.energy_gradient,
        comparisons.loss,
        comparisons.loss_gradient,
        comparisons.output_covariance,
        comparisons.output_covariance_norm,
        comparisons.equilibrium_activities,
        comparisons.equilibrium_errors,
        comparisons.prediction_errors,
        comparisons.activities_from_errors,
    ]
)
@quick
@given(problem=problems())
def test_closed_form_agrees_with_the_definition_at_any_point(comparison, problem):
    assert comparison(comparisons.CLOSED_FORMS, problem) < SAME


@named(
    [
        comparisons.residual_norm,
        comparisons.feedforward_residual,
        comparisons.activity_hessian,
        comparisons.least_activity_curvature,
        comparisons.contraction_rate,
    ]
)
@quick
@given(problem=problems(min_layers=2))
def test_closed_form_agrees_with_the_definition_of_the_landscape(comparison, problem):
    assert comparison(comparisons.CLOSED_FORMS, problem) < SAME


@named([comparisons.origin_hessian, comparisons.origin_spectrum])
@slower
@given(point=origins)
def test_closed_form_agrees_with_a_dense_hessian_at_the_origin(comparison, point):
    assert comparison(comparisons.CLOSED_FORMS, problem_at(*point)) < SAME


@named([comparisons.zero_rank_hessian, comparisons.zero_rank_spectrum])
@slower
@given(point=zero_rank_saddles)
def test_closed_form_agrees_with_a_dense_hessian_at_zero_rank_saddles(comparison, point):
    assert comparison(comparisons.CLOSED_FORMS, problem_at(*point)) < SAME


@settings(max_examples=15, deadline=None)
@given(problem=problems(max_width=4, max_layers=4))
def test_gradients_agree_with_central_differences(problem):
    weights, x, y = problem.tensors
    for ours, objective in (
        (equilibrated_energy_gradient, definitions.equilibrated_energy),
        (loss_gradient, definitions.loss),
    ):
        slopes = definitions.central_differences(lambda moved, f=objective: f(moved, x, y), weights)
        assert apart(ours(*problem.parts), slopes) < 1e-6
