"""The interval of a median: known answers, coverage by simulation, and what censoring does."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.statistics import median_interval
from pcbench.statistics.intervals import median_depth
from tests.statistics.simulated_times import (
    DISTRIBUTIONS,
    INTERPOLATION_ERROR,
    SAMPLES,
    clumped,
    standard_errors,
)

quick = settings(max_examples=100, deadline=None)

values = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30).map(
    lambda drawn: np.array(drawn) + 0.0  # no -0: equal to 0, but told apart by some assertions
)


@st.composite
def bounds(draw):
    lower = draw(values)
    upper = lower + np.array(
        draw(
            st.lists(
                st.sampled_from([0.0, 0.0, 1.0, np.inf]),
                min_size=lower.size,
                max_size=lower.size,
            )
        )
    )
    return lower, upper


def known(*sample):
    sample = np.array(sample, dtype=float)
    return sample, sample


@pytest.mark.parametrize(
    ("n", "ranks", "confidence"),
    # Tables of the sign test: P(Bin(n, 1/2) <= d - 1) doubled, from 1.
    [(5, 1, 0.9375), (6, 1, 0.96875), (8, 1, 0.9921875), (9, 2, 0.9609375), (20, 6, 0.95861)],
)
def test_ranks_and_their_confidence_are_those_of_the_sign_test(n, ranks, confidence):
    interval = median_interval(*known(*range(1, n + 1)), interpolate=False)
    assert (interval.low, interval.high) == (ranks, n + 1 - ranks)
    assert interval.confidence == pytest.approx(confidence, abs=1e-5)
    # Whoever asks for exactly that confidence needs no more.
    asked = median_interval(*known(*range(1, n + 1)), interval.confidence, interpolate=False)
    assert asked == interval


def test_interpolation_gives_the_published_weights():
    # n = 10: γ_2 = 1 - 22/1024 and γ_3 = 1 - 112/1024; I and λ by hand.
    part = (0.05 - 22 / 1024) / (90 / 1024)
    share = 8 * part / (2 + 6 * part)
    interval = median_interval(*known(*range(1, 11)))
    assert interval.low == pytest.approx(2 + share)
    assert interval.high == pytest.approx(9 - share)
    assert interval.confidence == 0.95


@pytest.mark.parametrize(("n", "confidence"), [(1, 0.0), (2, 0.5), (3, 0.75), (4, 0.875)])
def test_too_few_values_give_their_range_and_its_confidence(n, confidence):
    interval = median_interval(*known(*range(n)))
    assert (interval.low, interval.high, interval.confidence) == (0, n - 1, confidence)


def test_little_confidence_is_the_innermost_pair():
    assert median_interval(*known(1, 2, 3, 4), confidence=0.1) == median_interval(
        *known(1, 2, 3, 4), confidence=0.375
    )


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("n", range(5, 21))
def test_the_interval_covers_as_often_as_it_says(name, n):
    draw, median = DISTRIBUTIONS[name]
    sample = draw(np.random.default_rng(n), (SAMPLES, n))
    for interpolate in (True, False):
        depth = median_depth(n, 0.95, interpolate)
        low, high = depth.ends(sample, sample)
        covered = np.mean((low <= median) & (median <= high))
        # Exact ranks have no error of their own.
        off = INTERPOLATION_ERROR if interpolate and depth.share else 0.0
        assert abs(covered - depth.confidence) <= off + standard_errors(depth.confidence, SAMPLES)
        if interpolate:
            assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("n", [5, 7, 10, 15, 20])
def test_interpolation_is_exact_for_the_laplace_distribution(n):
    depth = median_depth(n, 0.95)
    sample = np.random.default_rng(n).laplace(size=(SAMPLES, n))
    low, high = depth.ends(sample, sample)
    covered = np.mean((low <= 0) & (high >= 0))
    assert abs(covered - depth.confidence) <= standard_errors(depth.confidence, SAMPLES)


def test_clumps_fool_interpolation_but_no_exact_rank():
    sample = clumped(np.random.default_rng(0), (SAMPLES, 7))
    covered = {}
    for interpolate in (True, False):
        low, high = median_depth(7, 0.95, interpolate).ends(sample, sample)
        covered[interpolate] = np.mean((low <= 0) & (high >= 0))
    assert covered[True] == pytest.approx(0.875, abs=standard_errors(0.875, SAMPLES))
    assert covered[False] == pytest.approx(0.984375, abs=standard_errors(0.984375, SAMPLES))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("n", [5, 8, 13, 20])
def test_censoring_costs_no_coverage_even_where_it_picks_its_victims(name, n):
    draw, median = DISTRIBUTIONS[name]
    rng = np.random.default_rng(n)
    sample = draw(rng, (SAMPLES, n))
    # Mostly the slow ones are stopped, and where is no secret of theirs.
    stopped = rng.random(sample.shape) < np.where(sample > median, 0.6, 0.1)
    lower = np.where(stopped, sample - rng.exponential(size=sample.shape), sample)
    depth = median_depth(n, 0.95)
    low, high = depth.ends(lower, np.where(stopped, np.inf, sample))
    covered = np.mean((low <= median) & (median <= high))
    assert covered >= depth.confidence - INTERPOLATION_ERROR - standard_errors(
        depth.confidence, SAMPLES
    )


@pytest.mark.parametrize("instead", ["dropped", "taken for the time they were stopped at"])
def test_what_became_of_censoring_is_seen_in_coverage(instead):
    sample = np.random.default_rng(0).exponential(size=(SAMPLES, 20))
    limit = 0.6  # under the median, 0.69
    covered = 0
    for row in sample[:2000]:
        used = row[row <= limit] if instead == "dropped" else np.minimum(row, limit)
        interval = median_interval(used, used)
        covered += interval.low <= math.log(2) <= interval.high
    assert covered < 0.5 * 2000


@quick
@given(bounds())
def test_wider_bounds_give_a_wider_interval(both):
    lower, upper = both
    exact, censored = median_interval(lower, lower), median_interval(lower, upper)
    assert censored.low == exact.low
    assert censored.high >= exact.high
    assert math.isnan(censored.estimate) or censored.low <= censored.estimate <= censored.high


@quick
@given(bounds(), st.floats(0.01, 0.99))
def test_the_estimate_is_the_median_where_bounds_settle_it(both, confidence):
    lower, upper = both
    interval = median_interval(lower, upper, confidence)
    if np.median(lower) == np.median(upper):
        assert interval.estimate == np.median(lower)
    else:
        assert math.isnan(interval.estimate)
    assert interval.low <= interval.high


def test_the_estimate_survives_censoring_of_the_upper_half():
    interval = median_interval(np.array([1.0, 2, 3, 4, 4]), np.array([1.0, 2, 3, np.inf, np.inf]))
    assert (interval.low, interval.estimate, interval.high) == (1, 3, np.inf)


def test_nothing_known_is_said():
    interval = median_interval(np.full(8, -np.inf), np.full(8, np.inf))
    assert (interval.low, interval.high) == (-np.inf, np.inf)
    assert math.isnan(interval.estimate)


@quick
@given(bounds(), st.randoms(use_true_random=False))
def test_the_order_of_values_does_not_matter(both, random):
    lower, upper = both
    order = list(range(lower.size))
    random.shuffle(order)
    a, b = median_interval(lower, upper), median_interval(lower[order], upper[order])
    np.testing.assert_equal((a.low, a.estimate, a.high), (b.low, b.estimate, b.high))


@quick
@given(bounds(), st.sampled_from([0.25, 2.0, 1024.0]))
def test_the_unit_of_values_does_not_matter(both, scale):
    a, b = median_interval(*both), median_interval(scale * both[0], scale * both[1])
    np.testing.assert_equal(
        (scale * a.low, scale * a.estimate, scale * a.high), (b.low, b.estimate, b.high)
    )


@quick
@given(st.floats(-100, 100), st.integers(1, 30))
def test_a_constant_sample_is_its_own_interval_without_rounding(value, n):
    interval = median_interval(np.full(n, value), np.full(n, value))
    assert interval.low == interval.estimate == interval.high == value


@pytest.mark.parametrize(
    ("lower", "upper", "confidence", "says"),
    [
        ([], [], 0.95, "without values"),
        ([2.0], [1.0], 0.95, "above its upper bound"),
        ([np.nan], [1.0], 0.95, "not a number"),
        ([np.inf], [np.inf], 0.95, "infinity"),
        ([-np.inf], [-np.inf], 0.95, "infinity"),
        ([1.0], [1.0], 0.0, "between 0 and 1"),
        ([1.0], [1.0], 1.0, "between 0 and 1"),
    ],
)
def test_what_is_no_sample_is_said(lower, upper, confidence, says):
    with pytest.raises(ValueError, match=says):
        median_interval(np.array(lower), np.array(upper), confidence)
