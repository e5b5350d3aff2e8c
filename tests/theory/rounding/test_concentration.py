"""Norms of many independent errors, and of operators, are within their bounds."""

import numpy as np
import pytest

from pcbench.theory.rounding.bounds import CONFIDENCE
from pcbench.theory.rounding.summation import (
    norm_bound,
    operator_norm_bound,
    scaled_norm_bounds,
)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (100, 100)])
def test_a_norm_is_within_its_bound(shape):
    """Errors of ±1, the largest there are, in 2000 draws."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal(shape)
    signs = rng.choice([-1.0, 1.0], (2000, shape[1]))
    bound = norm_bound(float(np.sum(vectors**2)), float(np.linalg.norm(vectors, 2) ** 2))
    seen = np.linalg.norm(signs @ vectors.T, axis=1)
    assert seen.max() < bound
    assert bound < 20 * seen.max()


def test_in_one_dimension_it_is_the_confidence():
    assert norm_bound(4.0, 4.0) == CONFIDENCE * 2


def test_in_many_it_is_near_the_root_of_the_total():
    assert norm_bound(1e6, 1.0) == pytest.approx(1000 + 2 * CONFIDENCE)


def test_many_at_once():
    total, worst = np.array([4.0, 1e6]), np.array([4.0, 1.0])
    np.testing.assert_allclose(norm_bound(total, worst), [16, 1016])


@pytest.mark.parametrize("shape", [(300, 300), (10, 300), (300, 10), (1, 1), (5, 1)])
def test_an_operator_norm_is_bounded_from_above_and_nearly_met(shape):
    matrix = np.random.default_rng(0).standard_normal(shape)
    norm = np.linalg.norm(matrix, 2)
    assert norm * (1 - 1e-12) <= operator_norm_bound(matrix) < 1.5 * norm


def test_an_operator_norm_with_scales_is_bounded_row_by_row():
    rng = np.random.default_rng(0)
    matrix, scales = rng.standard_normal((50, 40)), rng.standard_normal((7, 50)) ** 2
    norms = [np.linalg.norm(row[:, None] * matrix, 2) for row in scales]
    bounds = scaled_norm_bounds(scales, matrix)
    assert (norms <= bounds).all()
    assert (bounds < 2 * np.array(norms)).all()
