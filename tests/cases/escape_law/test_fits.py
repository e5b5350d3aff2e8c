"""Fits of laws on times whose law is known."""

import numpy as np
import pytest

from pcbench.cases.escape_law import fits
from pcbench.cases.escape_law.fits import against_bound, against_law
from pcbench.cases.escape_law.runs import crossings

RATIO = 1.8
SCALES = 0.3 * RATIO ** -np.arange(13.0)
LOGS = np.log(1 / SCALES)[:, None]
RNG = np.random.default_rng(11)
SEEDS = 400


def whole(times):
    """What is seen of times where nothing is interpolated: the step that they are in."""
    return fits.Bounds(np.ceil(times) - 1, np.ceil(times))


def interpolated(times):
    """To within a tenth of a step, somewhere about the truth."""
    earliest = times - RNG.uniform(0, 0.1, times.shape)
    return fits.Bounds(earliest, earliest + 0.1)


def covers(bounds, expected):
    return np.mean((bounds.lower <= expected) & (expected <= bounds.upper))


@pytest.mark.parametrize("power", [1, 2, 3])
def test_a_power_is_within_its_bounds_whatever_factor_and_offset(power):
    factor, offset = RNG.uniform(0.5, 4, SEEDS), RNG.uniform(-1, 4, SEEDS)
    bounds = fits.power(interpolated(factor * SCALES[:9, None] ** -power + offset + 3), RATIO)
    assert covers(bounds, power) == 1
    assert covers(bounds, power + 0.5) == 0


def test_a_power_is_within_its_bounds_to_leading_order_with_corrections_of_first_order():
    factor, slope = RNG.uniform(0.5, 4, SEEDS), RNG.uniform(-3, 3, SEEDS)
    times = factor * SCALES[:9, None] ** -2.0 * (1 + slope * SCALES[:9, None]) + 9
    seen = fits.power(whole(times), RATIO)
    beside = np.maximum(seen.lower - 2, 2 - seen.upper)
    # Later orders are beside the bounds; by little of the half that powers are told apart by.
    assert (beside < 0.02).all()


def test_a_slope_is_within_its_bounds_with_a_second_direction_close_by():
    gap = 0.3
    slope, offset, second = (RNG.uniform(*ends, SEEDS) for ends in [(1, 9), (0, 5), (-2, 2)])
    times = slope * LOGS + 12 + offset + second * SCALES[:, None] ** gap
    bounds = fits.slope(whole(times), RATIO, gap)
    assert (bounds.lower <= slope).all()
    assert (slope <= bounds.upper).all()
    far = fits.slope(whole(times), RATIO, 5 * gap)
    assert (far.upper - far.lower < bounds.upper - bounds.lower).all()


def test_a_slope_whose_second_direction_is_as_fast_bounds_nothing():
    bounds = fits.slope(whole(4 * LOGS + 12), RATIO, gap=1e-300)
    assert (bounds.upper > 1e3).all()


@pytest.mark.parametrize("kappa", [1, 4 / 3, 2, 3])
def test_a_power_of_a_shifted_logarithm_is_within_its_bounds(kappa):
    # A root is found for each seed at every corner: fewer will do.
    factor, shift = RNG.uniform(5, 50, SEEDS // 8), RNG.uniform(-0.5, 2, SEEDS // 8)
    bounds = fits.logarithmic_power(whole(factor * (LOGS + shift) ** kappa))
    assert covers(bounds, kappa) == 1
    assert covers(bounds, 0.5 * kappa) < 0.2


def test_a_power_of_the_scale_has_no_power_of_the_logarithm():
    times = 7 * SCALES[:, None] ** -1.0
    assert fits.power_of_shifted_logarithm(*times[fits.thirds(times), 0]) > 1e3
    assert np.isnan(fits.power_of_shifted_logarithm(3.0, 3.0, 5.0))
    assert fits.power_of_shifted_logarithm(1.0, 2.0, 5.0) == np.inf


def test_a_last_time_that_hardly_grows_has_a_small_power():
    powers = [fits.power_of_shifted_logarithm(1.0, 10.0, 10.0 + more) for more in (1.0, 0.1, 1e-3)]
    assert powers[0] > powers[1] > powers[2] > 0
    assert powers[2] == pytest.approx(np.log1p(1e-4) / np.log(2))


def test_a_local_power_is_that_of_the_smallest_scales():
    bounds = fits.local_power(whole(1000 * SCALES[:, None] ** -0.5), RATIO)
    assert bounds.lower <= 0.5 <= bounds.upper
    assert bounds.upper - bounds.lower < 0.01


def test_times_that_do_not_grow_bound_nothing():
    bounds = fits.power(whole(np.full((5, 3), 7.0)), RATIO)
    assert np.isneginf(bounds.lower).all()
    assert np.isposinf(bounds.upper).all()


# Times within a step


def curve(kind, rate, late):
    """A value that falls by half at the time ``late``, and where it stands at whole steps."""
    steps = np.arange(60.0)
    value = {
        "exponential": lambda t: 1 - np.exp(rate * (t - late)) / 2,
        "logistic": lambda t: 1 / (1 + np.exp(rate * (t - late))),
        "explosive": lambda t: 1 - 0.5 / np.maximum(1 + rate * (late - t) / 3, 0.1),
    }[kind](steps)
    return value / value[0], (1 - 0.5 / value[0])


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("kind", ["exponential", "logistic", "explosive"])
def test_the_time_of_a_fall_is_within_its_bounds(kind, rate):
    for late in RNG.uniform(30, 50, 50):
        values, fraction = curve(kind, rate, late)
        seen = crossings(values[:, None], fraction, 1)
        assert seen.lower <= late <= seen.upper
        assert seen.whole == np.ceil(late)
        assert seen.upper - seen.lower < 0.75 * rate


def test_a_fall_without_steps_about_it_is_anywhere_within_its_step():
    seen = crossings(np.array([[1.0, 1.0], [0.2, 0.9], [0.1, 0.2]]), 0.5, 2)
    assert seen.lower.tolist() == [[0, 1]]
    assert seen.upper.tolist() == [[1, 2]]


def test_what_never_falls_or_is_no_number_has_no_time():
    seen = crossings(np.array([[1.0, np.nan, 0.0], [1.0, 0.1, 0.0]]), 0.5, 3)
    assert np.isinf(seen.upper).all()


# Verdicts


def bounds(lower, upper):
    return fits.Bounds(np.array(lower, float), np.array(upper, float))


def test_a_law_within_the_interval_passes_and_beside_it_fails():
    seen = bounds([1.9, 1.95, 2.0, 1.9, 1.9], [2.1, 2.05, 2.1, 2.0, 2.2])
    assert against_law("power", seen, 2.0, 0.5).passed
    assert not against_law("power", seen, 3.0, 0.5).passed
    assert against_law("power", seen, 2.3, 0.5, missing=0.2).passed


def test_one_seed_beside_the_law_does_not_decide():
    seen = bounds([1.9] * 8 + [5.0], [2.1] * 8 + [5.1])
    assert against_law("power", seen, 2.0, 0.5).passed


@pytest.mark.parametrize("upper", [9.0, np.inf])
def test_an_interval_too_wide_to_tell_is_no_verdict(upper):
    found = against_law("power", bounds([1.0] * 5, [upper] * 5), 2.0, 0.5)
    assert isinstance(found, str)
    assert found.startswith("power (to within ")


SIDES = {"above": (1.2, 1.4), "below": (0.1, 0.3)}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("seen", SIDES)
@pytest.mark.parametrize("open_end", [False, True])
def test_a_bound_holds_where_the_whole_interval_is_on_its_side(side, seen, open_end):
    low, high = SIDES[seen]
    if open_end:
        low, high = (low, np.inf) if seen == "above" else (-np.inf, high)
    found = against_bound("power", bounds([low] * 5, [high] * 5), side, 0.5)
    assert found.passed == (seen == side)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("ends", [(0.4, 0.6), (-np.inf, np.inf)])
def test_an_interval_across_a_bound_is_no_verdict(side, ends):
    low, high = ends
    found = against_bound("power", bounds([low] * 5, [high] * 5), side, 0.5)
    assert isinstance(found, str)


@pytest.mark.parametrize("lower", [7.0, np.inf])
def test_an_open_interval_beyond_the_law_fails(lower):
    found = against_law("power", bounds([lower] * 5, [np.inf] * 5), 2.0, 0.5, missing=0.1)
    assert not found.passed
