"""Rounding of gradients of exact inference, made of errors as it finds them."""

from itertools import pairwise

import numpy as np
import pytest

from pcbench.theory.linear.equilibrium import equilibrated_energy_gradient
from pcbench.theory.rounding.perturbation import equilibrium_rounding


def problem(widths, std, seed=0, samples=16):
    rng = np.random.default_rng(seed)
    weights = [
        (std or inp**-0.5) * rng.standard_normal((out, inp)) for inp, out in pairwise(widths)
    ]
    x, y = rng.standard_normal((samples, widths[0])), rng.standard_normal((samples, widths[-1]))
    return [[a.astype(np.float32) for a in part] for part in (weights, (x, y))]


def by_products(weights, x, y):
    """Gradients in the arithmetic of the arrays: errors from the output, activities from them."""
    covariance, reach = np.eye(len(y[0]), dtype=x.dtype), [np.eye(len(y[0]), dtype=x.dtype)]
    for weight in reversed(weights[1:]):
        reach.insert(0, reach[0] @ weight)
        covariance = covariance + reach[0] @ reach[0].T
    output = np.linalg.solve(covariance, (y - x @ (reach[0] @ weights[0]).T).T).T
    gradients, z = [], x
    for weight, product in zip(weights, reach, strict=True):
        error = output @ product
        gradients.append(-error.T @ z / np.float32(len(x)))
        z = z @ weight.T + error
    return gradients


@pytest.mark.parametrize("std", [None, 0.05, 0.005])
@pytest.mark.parametrize("widths", [(40, 30, 30, 30, 5), (6, 8, 8, 3), (1, 1, 1, 1), (5, 4)])
def test_gradients_from_products_stay_within_their_bound(widths, std):
    for seed in range(5):
        weights, (x, y) = problem(widths, std, seed)
        exact_weights, exact_x, exact_y = [w.astype(float) for w in weights], x.astype(float), y
        seen = by_products(weights, x, y)
        exact = equilibrated_energy_gradient(exact_weights, exact_x, exact_y.astype(float))
        bounds = equilibrium_rounding(
            exact_weights, exact_x, exact_y.astype(float), 2.0**-24
        ).carried
        for a, b, bound in zip(seen, exact, bounds, strict=True):
            assert np.linalg.norm(a - b) <= bound


def test_near_the_origin_they_keep_the_digits_that_errors_evaluated_anew_lose():
    weights, (x, y) = problem((40, 30, 30, 30, 30, 5), 0.01)
    weights, x, y = [w.astype(float) for w in weights], x.astype(float), y.astype(float)
    rounding = equilibrium_rounding(weights, x, y, 2.0**-24)
    norms = [np.linalg.norm(g) for g in equilibrated_energy_gradient(weights, x, y)]
    assert rounding.carried[0] < 1e-4 * norms[0]
    assert rounding.gradients[0] > 0.1 * norms[0]
    assert (np.array(rounding.carried) <= 2 * np.array(rounding.gradients)).all()
