"""The interval of a median: known answers, coverage by simulation, and what censoring does."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import quantile_test

from pcbench.statistics import median_interval, median_rank
from tests.statistics.simulated_times import (
    DISTRIBUTIONS,
    SAMPLES,
    clumped,
    ends_of,
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
    interval = median_interval(*known(*range(1, n + 1)))
    assert (interval.low, interval.high) == (ranks, n + 1 - ranks)
    assert interval.confidence == pytest.approx(confidence, abs=1e-5)
    # Whoever asks for exactly that confidence needs no more.
    asked = median_interval(*known(*range(1, n + 1)), interval.confidence)
    assert asked == interval


@pytest.mark.parametrize("n", range(6, 41))
def test_scipy_has_the_same_interval_of_the_same_sample(n):
    for sample in np.random.default_rng(n).standard_cauchy((20, n)):
        interval = median_interval(*known(*sample))
        theirs = quantile_test(sample).confidence_interval(0.95)
        assert (interval.low, interval.high) == (theirs.low, theirs.high)


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
    low, high = ends_of(sample, sample)
    covered = np.mean((low <= median) & (median <= high))
    _, confidence = median_rank(n, 0.95)
    assert abs(covered - confidence) <= standard_errors(confidence, SAMPLES)


def test_clumps_do_not_fool_it():
    sample = clumped(np.random.default_rng(0), (SAMPLES, 7))
    low, high = ends_of(sample, sample)
    covered = np.mean((low <= 0) & (high >= 0))
    assert covered == pytest.approx(0.984375, abs=standard_errors(0.984375, SAMPLES))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("n", [5, 8, 13, 20])
def test_censoring_costs_no_coverage_even_where_it_picks_its_victims(name, n):
    draw, median = DISTRIBUTIONS[name]
    rng = np.random.default_rng(n)
    sample = draw(rng, (SAMPLES, n))
    # Mostly the slow ones are stopped, and where is no secret of theirs.
    stopped = rng.random(sample.shape) < np.where(sample > median, 0.6, 0.1)
    lower = np.where(stopped, sample - rng.exponential(size=sample.shape), sample)
    low, high = ends_of(lower, np.where(stopped, np.inf, sample))
    covered = np.mean((low <= median) & (median <= high))
    _, confidence = median_rank(n, 0.95)
    assert covered >= confidence - standard_errors(confidence, SAMPLES)


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
