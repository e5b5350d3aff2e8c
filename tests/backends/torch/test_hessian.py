"""Hessian products of the PyTorch backend against dense Hessians of the definitions."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings

from pcbench.backends.torch import hessians
from pcbench.networks import Origin, PenultimateOnly, ZeroRank
from pcbench.theory.linear.equilibrium import equilibrated_energy_gradient, loss_gradient
from pcbench.theory.linear.saddles import zero_rank_hessian
from tests.backends.torch import answers
from tests.helpers import linear_definitions as definitions
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import (
    points,
    problem_at,
    problems,
    random_problem,
    seeds,
    widths,
)

both = pytest.mark.parametrize("objective", answers.OBJECTIVES)
small = problems(max_layers=4, max_width=4)
few = settings(max_examples=25, deadline=None)


def products(problem, objective, vectors):
    backend, model, x, y = answers.stage(problem)
    return backend.to_host(
        answers.hessian_of(model, objective, x, y).product(backend.to_device(vectors))
    )


def directions(problem, count, seed=0):
    shape = (count, problem.network.n_parameters)
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("device", answers.DEVICES)
@both
@few
@given(problem=small)
def test_rows_are_those_of_the_dense_hessian_anywhere(device, objective, problem):
    weights, x, y = problem.tensors
    function = definitions.OBJECTIVES[objective]
    dense = definitions.hessian(lambda moved: function(moved, x, y), weights)
    assert apart(answers.hessian(problem, objective, device=device), dense) < SAME


@both
@few
@given(
    point=points(
        [Origin(), PenultimateOnly(), ZeroRank()],
        widths(min_layers=3, max_layers=4, min_width=2, max_width=4),
    )
)
def test_rows_are_those_of_the_theory_at_saddles(objective, point):
    problem = problem_at(*point)
    ours = answers.hessian(problem, objective)
    assert apart(ours, zero_rank_hessian(*problem.parts, objective).toarray()) < SAME


@both
@few
@given(problem=problems(max_layers=5), seed=seeds)
def test_products_are_linear_and_the_hessian_symmetric(objective, problem, seed):
    v, w = directions(problem, 2, seed)
    of_v, of_w, of_both = products(problem, objective, np.stack([v, w, 2 * v - 3 * w]))
    assert apart(of_both, 2 * of_v - 3 * of_w) < SAME
    size = np.linalg.norm(v) * np.linalg.norm(of_w) + np.linalg.norm(w) * np.linalg.norm(of_v)
    assert abs(w @ of_v - v @ of_w) < SAME * (1 + size)


@both
@few
@given(problem=problems(max_layers=4, max_width=4, gains=(0.5, 1.0)), seed=seeds)
def test_a_product_is_how_the_gradient_changes_along_the_direction(objective, problem, seed):
    gradient = {
        "loss": loss_gradient,
        "energy": equilibrated_energy_gradient,
    }[objective]
    (v,) = directions(problem, 1, seed)
    step = 1e-5
    parts = np.split(v, np.cumsum([w.size for w in problem.weights])[:-1])

    def moved(factor):
        weights = [
            w + factor * part.reshape(w.shape)
            for w, part in zip(problem.weights, parts, strict=True)
        ]
        return np.concatenate([g.ravel() for g in gradient(weights, problem.x, problem.y)])

    change = (moved(step) - moved(-step)) / (2 * step)
    assert apart(products(problem, objective, v[None])[0], change) < 1e-4


@both
def test_many_directions_multiply_as_each_one_alone(objective):
    problem = random_problem((3, 4, 5, 2))
    vectors = directions(problem, 9)
    together = products(problem, objective, vectors)
    alone = np.concatenate([products(problem, objective, v[None]) for v in vectors])
    assert apart(together, alone) < 1e-13


@both
@pytest.mark.parametrize("numbers", [1, 200])
def test_multiplying_in_blocks_changes_nothing(objective, numbers):
    problem = random_problem((3, 4, 5, 2))
    vectors = directions(problem, 9)
    whole = products(problem, objective, vectors)
    with patch.object(hessians, "_BLOCK_NUMBERS", numbers):
        assert apart(products(problem, objective, vectors), whole) < 1e-13


@both
def test_no_directions_give_no_products(objective):
    problem = random_problem((3, 4, 2))
    assert products(problem, objective, directions(problem, 0)).shape == (0, 20)


@both
@few
@given(problem=problems(max_layers=1, max_width=4))
def test_without_hidden_layers_both_hessians_are_that_of_least_squares(objective, problem):
    moments = problem.x.T @ problem.x / len(problem.x)
    expected = np.kron(np.eye(problem.y.shape[1]), moments)
    assert apart(answers.hessian(problem, objective), expected) < SAME
