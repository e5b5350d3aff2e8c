"""Points that are saddles of a rank and points that are not, and what a gradient allows there."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.cases.matrix_completion.escape import (
    beyond_stationary,
    path_checks,
    stationary_checks,
    stationary_misfits,
)
from pcbench.cases.matrix_completion.path import Saddle, Seen, is_saddle
from pcbench.judges.problem import Problem
from pcbench.networks import NetworkSpec
from pcbench.theory.linear import equilibrium
from pcbench.theory.linear.equilibrium import loss_gradient


def point(rank, *, scale=1.0, beyond=0.0, noise=0.0, seed=0):
    """A linear network on whole targets: the best map of a rank, and what is added."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((6, 6)))[0] for _ in range(2))
    y = u @ np.diag([6.0, 4.0, 2.0, 0, 0, 0]) @ v
    kept = np.diag(np.sqrt([scale] * rank + [beyond] * (6 - rank)))
    # x = y, so that the best map projects on its first right singular vectors.
    weights = [kept @ v, np.eye(6), v.T @ kept]
    weights = [w + noise * rng.standard_normal(w.shape) for w in weights]
    return Problem(NetworkSpec((6, 6, 6, 6)), weights, y, y.copy())


def seen(problem, *, loss=1.0, norms=1.0):
    """What an honest path has there, times factors."""
    gradients = loss_gradient(problem.weights, problem.x, problem.y)
    return Seen(
        loss * equilibrium.loss(problem.weights, problem.x, problem.y),
        norms * np.array([np.linalg.norm(gradient) for gradient in gradients]),
    )


@pytest.mark.parametrize("rank", [1, 2])
def test_the_best_map_of_its_rank_is_a_saddle(rank):
    assert is_saddle(point(rank), rank)


@pytest.mark.parametrize("rank", [1, 2])
def test_a_map_that_falls_short_of_the_best_of_its_rank_is_none(rank):
    assert not is_saddle(point(rank, scale=0.4), rank)


def test_a_map_of_more_rank_than_its_predictions_show_is_none():
    assert not is_saddle(point(1, beyond=0.2), 1)


def test_targets_that_are_not_observed_have_no_best_to_fall_short_of():
    short = point(1, scale=0.4)
    assert is_saddle(replace(short, precision=np.ones((6, 6))), 1)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([1, 2]), st.floats(1e-6, 0.5))
def test_no_misfit_is_further_from_a_stationary_one_than_the_gradient_allows(seed, rank, noise):
    problem = point(rank, noise=noise, seed=seed)
    misfit = np.sqrt(2 * 6 * seen(problem).loss)
    levels = stationary_misfits(problem, rank)
    off = np.abs(levels - misfit).min()
    assert off <= beyond_stationary(problem, rank, seen(problem), "float64") + 1e-9


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({}, set()),
        ({"loss": 0.99}, {"loss on BP's path", "misfit at a saddle"}),
        ({"loss": 1.5}, {"loss on BP's path", "misfit at a saddle"}),
        ({"loss": -1.0}, {"loss on BP's path", "misfit at a saddle"}),
        ({"norms": 1.001}, {"gradient norm on BP's path"}),
        ({"norms": float("nan")}, {"gradient norm on BP's path"}),
    ],
)
@pytest.mark.parametrize("rank", [1, 2])
def test_wrong_records_at_a_saddle_are_told(rank, wrong, names):
    problem = point(rank, noise=1e-5)
    saddle = Saddle(0, rank, 0, problem, seen(problem, **wrong))
    checks = [*path_checks([saddle], 0.01, "float64"), *stationary_checks([saddle], "float64")]
    assert {check.name for check in checks if not check.passed} == names


def test_a_path_without_records_is_told():
    checks = list(path_checks([Saddle(0, 0, 0, point(0))], 0.01, "float64"))
    assert checks
    assert not any(check.passed for check in checks)
