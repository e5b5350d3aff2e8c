"""The activity landscape (2.3): its curvature, and how fast inference descends it."""

from functools import reduce
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.networks import LecunNormal, NearOrigin, Origin, PenultimateOnly, ZeroRank
from pcbench.theory.arrays import chain, chains_from_output, chains_to_input
from pcbench.theory.linear import equilibrium
from pcbench.theory.linear.equilibrium import (
    activity_hessian,
    contraction_rate,
    equilibrium_errors,
    least_activity_curvature,
)
from tests.helpers import linear_definitions as definitions
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import problem_at, problems, random_problem
from tests.theory.linear.forces import feedforward_residual, residual_norm


def least(weights):
    return float(np.linalg.eigvalsh(activity_hessian(weights))[0])


@settings(max_examples=40, deadline=None)
@given(problem=problems(min_layers=2))
def test_least_curvature_is_neither_overstated_nor_far_off_when_found_by_iteration(problem):
    if len(problem.weights) == 2 and len(problem.weights[0]) < 3:
        return  # ARPACK needs a few units
    with patch.object(equilibrium, "_DENSE_UNITS", 0):
        found = least_activity_curvature(problem.weights)
    exact = least(problem.weights)
    assert 0.97 * exact <= found <= exact * (1 + SAME)


@pytest.mark.parametrize(
    "initialisation", [Origin(), NearOrigin(), LecunNormal(), PenultimateOnly(), ZeroRank()]
)
def test_least_curvature_of_a_large_network_is_neither_overstated_nor_far_off(initialisation):
    weights = problem_at(initialisation, (5, 70, 70, 70, 70, 3)).weights
    assert 0.97 * least(weights) <= least_activity_curvature(weights) <= least(weights)


def test_least_curvature_found_by_iteration_is_the_same_every_time():
    weights = random_problem((5, 70, 70, 70, 70, 3)).weights
    first = least_activity_curvature(weights)
    np.random.default_rng(3).standard_normal(5)
    assert least_activity_curvature(weights) == first


@settings(max_examples=20, deadline=None)
@given(problem=problems(max_layers=1))
def test_without_hidden_layers_there_is_no_landscape_and_nothing_to_contract(problem):
    assert activity_hessian(problem.weights).shape == (0, 0)
    assert least_activity_curvature(problem.weights) == 1
    assert contraction_rate(problem.weights, 0.1) == 0
    assert feedforward_residual(*problem.parts) == 0
    assert residual_norm(problem.weights, equilibrium_errors(*problem.parts)) == 0


@pytest.mark.parametrize("step", [0.05, 0.2])
def test_gradient_inference_contracts_at_the_predicted_rate_in_the_long_run(step):
    problem = random_problem((4, 5, 6, 3), samples=1)
    weights, x, y = problem.tensors
    goal = torch.cat(definitions.equilibrium(weights, x, y)[1:-1], dim=1)
    hidden, distances = torch.zeros_like(goal), []
    for _ in range(600):
        here = definitions.between(weights, x, hidden, y)
        hidden = hidden - step * definitions.activity_gradient(weights, here)
        distances.append(float((hidden - goal).norm()))
    # The last steps before rounding stops the approach.
    usable = [d for d in distances if d > 1e-10][-20:]
    rates = np.array(usable[1:]) / np.array(usable[:-1])
    np.testing.assert_allclose(rates, contraction_rate(problem.weights, step), rtol=1e-2)


def test_no_step_contracts_faster_than_the_best_one():
    weights = random_problem((4, 5, 6, 3)).weights
    curvatures = np.linalg.eigvalsh(activity_hessian(weights))
    low, high = curvatures[0], curvatures[-1]
    best = contraction_rate(weights, 2 / (low + high))
    assert best == pytest.approx((high - low) / (high + low))
    for factor in (0.9, 1.1):
        assert contraction_rate(weights, factor * 2 / (low + high)) > best


@settings(max_examples=40, deadline=None)
@given(problem=problems(), data=st.data())
def test_a_chain_is_the_product_of_its_layers(problem, data):
    depth = len(problem.weights)
    k = data.draw(st.integers(0, depth), label="k")
    l = data.draw(st.integers(1, k + 1), label="l")
    widths = problem.network.widths
    layers = [np.eye(widths[k]), *reversed(problem.weights[l - 1 : k])]
    product = reduce(np.matmul, layers)
    assert apart(chain(problem.weights, k, l), product) < SAME
    if k == depth:
        assert apart(chains_from_output(problem.weights)[l - 1], product) < SAME
    if l == 1:
        assert apart(chains_to_input(problem.weights)[k], product) < SAME


def test_all_chains_to_either_end_are_listed():
    weights = random_problem((3, 4, 5, 2)).weights
    assert [c.shape for c in chains_from_output(weights)] == [(2, 3), (2, 4), (2, 5), (2, 2)]
    assert [c.shape for c in chains_to_input(weights)] == [(3, 3), (4, 3), (5, 3), (2, 3)]


@pytest.mark.parametrize(("k", "l"), [(3, 0), (1, 3), (4, 1), (-1, 1)])
def test_a_chain_that_does_not_exist_is_refused(k, l):
    with pytest.raises(ValueError, match="does not exist in a network of 3 layers"):
        chain(random_problem((3, 4, 5, 2)).weights, k, l)
