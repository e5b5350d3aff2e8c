"""Fits of laws on times whose law is known."""

import numpy as np
import pytest

from pcbench.cases import _law_fits as fits
from pcbench.cases._law_checks import Unresolved, judged

RATIO = 1.8
SCALES = 0.3 * RATIO ** -np.arange(13.0)
LOGS = np.log(1 / SCALES)[:, None]
RNG = np.random.default_rng(11)
SEEDS = 400


def whole(times):
    """What is seen of times: the first whole step that is not before."""
    return np.ceil(times)


def covers(bounds, expected):
    return np.mean((bounds.lower <= expected) & (expected <= bounds.upper))


@pytest.mark.parametrize("power", [1, 2, 3])
def test_a_power_is_within_its_bounds_whatever_factor_and_offset(power):
    factor, offset = RNG.uniform(0.5, 4, SEEDS), RNG.uniform(-1, 4, SEEDS)
    bounds = fits.power(whole(factor * SCALES[:9, None] ** -power + offset + 3), RATIO)
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


@pytest.mark.parametrize("kappa", [1, 4 / 3, 2, 3])
def test_a_power_of_a_shifted_logarithm_is_within_its_bounds(kappa):
    factor, shift = RNG.uniform(5, 50, SEEDS), RNG.uniform(-0.5, 2, SEEDS)
    bounds = fits.logarithmic_power(whole(factor * (LOGS + shift) ** kappa))
    assert covers(bounds, kappa) == 1
    assert covers(bounds, 0.5 * kappa) < 0.2


def test_a_power_of_the_scale_has_no_power_of_the_logarithm():
    times = 7 * SCALES[:, None] ** -1.0
    assert fits.power_of_shifted_logarithm(*fits.at_thirds(times)[:, 0]) > 1e3
    assert np.isnan(fits.power_of_shifted_logarithm(3.0, 3.0, 5.0))
    assert fits.power_of_shifted_logarithm(1.0, 2.0, 5.0) == np.inf


def test_a_local_power_is_that_of_the_smallest_scales():
    bounds = fits.local_power(whole(1000 * SCALES[:, None] ** -0.5), RATIO)
    assert bounds.lower <= 0.5 <= bounds.upper
    assert bounds.upper - bounds.lower < 0.01


def test_times_that_do_not_grow_bound_nothing():
    bounds = fits.power(np.full((5, 3), 7.0), RATIO)
    assert np.isneginf(bounds.lower).all()
    assert np.isposinf(bounds.upper).all()


def test_censored_times_are_extrapolated_by_the_law_from_the_two_scales_before():
    times = 2 * SCALES[:6, None] ** -2.0 + 5
    cut = np.where(SCALES[:6, None] < SCALES[3], np.inf, times)
    assert fits.extrapolated(cut, RATIO, 2.0) == pytest.approx(times)
    never = fits.extrapolated(np.full((4, 1), np.inf), RATIO, 2.0)
    assert not np.isfinite(never).any()


# Verdicts


def bounds(lower, upper):
    return fits.Bounds(np.array(lower, float), np.array(upper, float))


def test_a_law_within_the_interval_passes_and_beside_it_fails():
    seen = bounds([1.9, 1.95, 2.0, 1.9, 1.9], [2.1, 2.05, 2.1, 2.0, 2.2])
    assert judged("power", seen, 2.0, 0.5, source="").passed
    assert not judged("power", seen, 3.0, 0.5, source="").passed
    assert judged("power", seen, 2.3, 0.5, source="", missing=0.2).passed


def test_one_seed_beside_the_law_does_not_decide():
    seen = bounds([1.9] * 8 + [5.0], [2.1] * 8 + [5.1])
    assert judged("power", seen, 2.0, 0.5, source="").passed


@pytest.mark.parametrize("upper", [9.0, np.inf])
def test_an_interval_too_wide_to_tell_is_no_verdict(upper):
    found = judged("power", bounds([1.0] * 5, [upper] * 5), 2.0, 0.5, source="")
    assert isinstance(found, Unresolved)
    assert str(found).startswith("power (to within ")


@pytest.mark.parametrize("lower", [7.0, np.inf])
def test_an_open_interval_beyond_the_law_fails(lower):
    found = judged("power", bounds([lower] * 5, [np.inf] * 5), 2.0, 0.5, source="", missing=0.1)
    assert not found.passed
