"""Growth near the origin: training stays within the interval, and the interval says something."""

from itertools import pairwise

import numpy as np
import pytest

from pcbench.theory.dynamics.growth import growth, least_slope, top_direction, vanishing_slopes
from pcbench.theory.linear.equilibrium import equilibrated_energy_gradient, loss_gradient

RATE, STEPS = 0.1, 8
WIDTHS = {"three layers": (4, 6, 6, 3), "four": (4, 7, 5, 7, 3), "narrow": (3, 2, 1, 2, 2)}


def problem(widths, std, *, mini, seed=0, samples=12):
    rng = np.random.default_rng(seed)
    weights = [std * rng.standard_normal((out, inp)) for inp, out in pairwise(widths)]
    batches = [
        (rng.standard_normal((samples, widths[0])), rng.standard_normal((samples, widths[-1])))
        for _ in range(STEPS if mini else 1)
    ]
    return weights, batches * (1 if mini else STEPS)


def trained(weights, batches, rate, gradient=equilibrated_energy_gradient):
    """``uᵀ W_L`` by how much after every step, by definition."""
    _, u = direction(batches)
    start, grown = np.linalg.norm(u @ weights[-1]), []
    for x, y in batches:
        slopes = gradient(weights, x, y)
        weights = [weight - rate * slope for weight, slope in zip(weights, slopes, strict=True)]
        grown.append(np.linalg.norm(u @ weights[-1]) / start)
    return np.array(grown)


def direction(batches):
    return top_direction(np.concatenate([y for _, y in batches]))


def intervals(weights, batches, rate=RATE):
    found = growth(weights, batches, rate, direction(batches)[1])
    return np.array([one.interval for one in found]).T, found


@pytest.mark.parametrize("mini", [False, True], ids=["one batch", "batches"])
@pytest.mark.parametrize("std", [0.3, 0.1, 0.03, 0.003])
@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
def test_training_stays_within_the_interval(widths, std, mini):
    for seed in range(5):
        weights, batches = problem(widths, std, mini=mini, seed=seed)
        (low, high), _ = intervals(weights, batches)
        grown = trained(weights, batches, RATE)
        assert (low <= grown).all()
        assert (grown <= high).all()


def test_on_one_batch_the_law_is_a_power():
    weights, batches = problem(WIDTHS["four"], 0.01, mini=False)
    value, _ = direction(batches)
    laws = [one.law for one in intervals(weights, batches)[1]]
    np.testing.assert_allclose(laws, (1 + RATE * value) ** np.arange(1, STEPS + 1), rtol=1e-12)


@pytest.mark.parametrize(("widths", "order"), [(WIDTHS["three layers"], 1), (WIDTHS["four"], 2)])
def test_the_interval_closes_as_weights_shrink(widths, order):
    widths_found = []
    for std in (1e-4, 1e-5):
        weights, batches = problem(widths, std, mini=False)
        widths_found.append(intervals(weights, batches)[1][-1].off)
    assert widths_found[0] / widths_found[1] == pytest.approx(10**order, rel=0.05)
    assert widths_found[1] < 1e-3


def test_far_from_the_origin_the_bound_says_that_it_says_nothing():
    weights, batches = problem(WIDTHS["four"], 1.0, mini=False)
    found = intervals(weights, batches)[1]
    assert np.isfinite([one.law for one in found]).all()
    assert found[-1].off == np.inf


@pytest.mark.parametrize("mini", [False, True], ids=["one batch", "batches"])
def test_what_does_not_grow_so_is_outside(mini):
    weights, batches = problem(WIDTHS["four"], 0.01, mini=mini)
    (low, high), _ = intervals(weights, batches)
    backpropagation = trained(weights, batches, RATE, loss_gradient)
    assert (backpropagation[1:] < low[1:]).all()
    assert (trained(weights, batches, 1.2 * RATE)[1:] > high[1:]).all()
    assert (trained(weights, batches, 0.8 * RATE)[1:] < low[1:]).all()


@pytest.mark.parametrize("std", [0.3, 0.03, 0.003])
@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
def test_slopes_at_the_start_are_bounded(widths, std):
    for seed in range(5):
        weights, [(x, y), *_] = problem(widths, std, mini=False, seed=seed)
        slopes = [np.linalg.norm(slope) for slope in loss_gradient(weights, x, y)]
        assert (slopes <= np.array(vanishing_slopes(weights, x, y)) * (1 + 1e-12)).all()
        last = np.linalg.norm(equilibrated_energy_gradient(weights, x, y)[-1])
        assert least_slope(weights, x, y) <= last


def test_one_gradient_vanishes_at_the_origin_and_the_other_does_not():
    weights, [(x, y), *_] = problem(WIDTHS["four"], 1e-3, mini=False)
    sigma = y.T @ y / len(y)
    assert least_slope(weights, x, y) > 0.99 * np.linalg.norm(sigma @ weights[-1])
    halved = [weight / 2 for weight in weights]
    whole, half = (vanishing_slopes(w, x, y) for w in (weights, halved))
    np.testing.assert_allclose(np.array(whole) / half, 8, rtol=1e-3)
    assert max(whole) < 1e-3 * least_slope(weights, x, y)
