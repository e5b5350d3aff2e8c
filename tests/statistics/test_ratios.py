"""Ratios of paired times: the bounds of censored pairs, coverage, and false alarms of a verdict."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pcbench.statistics import Times, log_ratio_bounds, median_rank, paired_ratio
from tests.statistics.simulated_times import (
    LOG_RATIOS,
    SAMPLES,
    cut,
    ends_of,
    pairs,
    seen,
    standard_errors,
)

quick = settings(max_examples=100, deadline=None)

steps = st.integers(1, 10_000)
runs = st.lists(st.tuples(steps, st.booleans(), steps, st.booleans()), min_size=1, max_size=25)


def both(drawn):
    a, seen_a, b, seen_b = (np.array(column) for column in zip(*drawn, strict=True))
    return Times(a.astype(float), seen_a), Times(b.astype(float), seen_b)


def ends(interval):
    return interval.low, interval.estimate, interval.high


def test_five_pairs_have_their_range_at_15_of_16():
    interval = paired_ratio(seen(10, 20, 30, 40, 50), seen(20, 20, 10, 10, 10))
    np.testing.assert_allclose(ends(interval), (0.5, 3, 5))
    assert interval.confidence == 0.9375


def test_the_estimate_between_two_pairs_is_their_geometric_mean():
    assert paired_ratio(seen(1, 1), seen(2, 8)).estimate == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [
        (Times(np.array([30.0]), np.array([False])), seen(10), (3, np.nan, np.inf)),
        (seen(30), Times(np.array([10.0]), np.array([False])), (0, np.nan, 3)),
        (cut(np.array([9]), 5), cut(np.array([9]), 5), (0, np.nan, np.inf)),
        # A replica of which nothing was seen bounds nothing.
        (Times(np.zeros(1), np.array([False])), seen(10), (0, np.nan, np.inf)),
        (seen(10), Times(np.zeros(1), np.array([False])), (0, np.nan, np.inf)),
    ],
)
def test_a_censored_pair_is_bounded_by_what_was_seen(numerator, denominator, expected):
    np.testing.assert_allclose(ends(paired_ratio(numerator, denominator)), expected)


def test_a_learner_that_never_gets_away_is_still_the_slower_one():
    fast, never = seen(10, 12, 11, 9, 13), cut(np.full(5, 10**6), 1000)
    interval = paired_ratio(never, fast)
    assert interval.low == pytest.approx(1000 / 13)
    assert interval.high == np.inf
    assert math.isnan(interval.estimate)


def intervals_of(numerator, denominator, n):
    """Intervals of many experiments, one after the other in the times, at once."""
    bounds = (bound.reshape(-1, n) for bound in log_ratio_bounds(numerator, denominator))
    low, high = (np.exp(end) for end in ends_of(*bounds))
    return low, high, median_rank(n, 0.95)[1]


@pytest.mark.parametrize("limit", [np.inf, 1500])
def test_many_experiments_at_once_are_as_many_alone(limit):
    a, b = (cut(times, limit) for times in pairs(np.random.default_rng(0), "skewed", 20 * 8))
    together = zip(*intervals_of(a, b, 8)[:2], strict=True)
    for i, (low, high) in enumerate(together):
        own = slice(8 * i, 8 * i + 8)
        interval = paired_ratio(
            Times(a.times[own], a.observed[own]), Times(b.times[own], b.observed[own])
        )
        assert (interval.low, interval.high) == (low, high)


@pytest.mark.parametrize("noise", LOG_RATIOS)
def test_pairs_share_their_luck(noise):
    a, b = pairs(np.random.default_rng(0), noise, SAMPLES)
    assert stats.spearmanr(a, b).statistic > 0.5


@pytest.mark.parametrize("limit", [np.inf, 4000, 1500])
@pytest.mark.parametrize("n", range(5, 21))
@pytest.mark.parametrize("noise", LOG_RATIOS)
def test_the_interval_covers_as_often_as_it_says(noise, n, limit):
    # Runs of one length for both learners, which may end before most replicas have escaped.
    drawn = pairs(np.random.default_rng(n), noise, SAMPLES * n, ratio=0.4)
    a, b = (cut(times, limit) for times in drawn)
    low, high, confidence = intervals_of(a, b, n)
    covered = np.mean((low <= 0.4) & (high >= 0.4))
    off = standard_errors(confidence, SAMPLES)
    assert covered >= confidence - off  # censoring only adds
    assert covered >= 0.93
    if limit == np.inf:
        assert covered <= confidence + off


def false_alarms(n, draw):
    """How often ``high < 1``, and how often that may be."""
    times = draw(np.random.default_rng(n), SAMPLES * n)
    _, high, confidence = intervals_of(*times, n)
    return np.mean(high < 1), (1 - confidence) / 2


def alike(rng, size):
    """One learner twice: what a pair shares, and noise of each run of its own."""
    shared = rng.lognormal(7, 0.6, size)
    return [seen(*np.ceil(shared * rng.lognormal(0, 0.4, size))) for _ in range(2)]


@pytest.mark.parametrize("n", range(5, 21))
def test_equal_learners_are_told_apart_as_seldom_as_the_confidence_says(n):
    exact, allowed = false_alarms(n, alike)
    assert abs(exact - allowed) <= standard_errors(allowed, SAMPLES)
    # Five pairs cannot have more confidence; of more, 2.5 % or less.
    assert allowed == 1 / 32 if n == 5 else allowed <= 0.025


@pytest.mark.parametrize("n", [7, 10])
def test_clumps_do_not_fool_it(n):
    def clumps(rng, size):  # in every pair, one run takes twice as long: a plateau more
        slow = rng.random(size) < 0.5
        return [seen(*100 * (1 + late) + rng.integers(0, 9, size)) for late in (slow, ~slow)]

    exact, allowed = false_alarms(n, clumps)
    assert exact <= allowed + standard_errors(allowed, SAMPLES)


@pytest.mark.parametrize("limit", [1500, 500])
def test_equal_learners_are_told_apart_no_more_often_where_runs_are_too_short(limit):
    def short(rng, size):
        return [cut(times, limit) for times in pairs(rng, "lognormal", size)]

    for n in (5, 8, 15):
        alarms, allowed = false_alarms(n, short)
        assert alarms <= allowed + standard_errors(allowed, SAMPLES)


@pytest.mark.parametrize("instead", ["dropped", "taken for the time they were stopped at"])
def test_what_became_of_censoring_is_seen_in_coverage(instead):
    # The slower learner takes four times as long, and most of its runs are stopped before.
    n, limit, experiments = 80, 2500, 500
    drawn = pairs(np.random.default_rng(0), "lognormal", experiments * n, ratio=4)
    a, b = (times.reshape(experiments, n) for times in drawn)
    covered = {instead: 0, "censored": 0}
    for slow, fast in zip(a, b, strict=True):
        if instead == "dropped":
            both_seen = (slow <= limit) & (fast <= limit)
            wrong = seen(*slow[both_seen]), seen(*fast[both_seen])
        else:
            wrong = seen(*np.minimum(slow, limit)), seen(*np.minimum(fast, limit))
        right = cut(slow, limit), cut(fast, limit)
        for what, times in ((instead, wrong), ("censored", right)):
            interval = paired_ratio(*times)
            covered[what] += interval.low <= 4 <= interval.high
    too_few = 0.95 - standard_errors(0.95, experiments)
    assert covered["censored"] / experiments >= too_few
    assert covered[instead] / experiments < too_few - 0.05


@pytest.mark.parametrize("n", [1, 5, 6, 7, 8, 10, 20])
def test_ties_are_no_victory(n):
    times = seen(*range(3, 3 + n))
    interval = paired_ratio(times, times)
    assert ends(interval) == (1, 1, 1)


def test_ties_make_alarms_rarer_than_the_level():
    def tied(rng, size):  # most pairs end in the very same step
        return [seen(*rng.geometric(0.9, size)) for _ in range(2)]

    for n in (5, 8, 12):
        alarms, allowed = false_alarms(n, tied)
        assert alarms <= allowed / 2


def test_ties_leave_a_real_difference_visible():
    interval = paired_ratio(seen(5, 5, 5, 5, 5), seen(5, 9, 9, 9, 9))
    assert interval.high == 1  # one pair in five is no faster: not enough of five
    assert paired_ratio(seen(*[5] * 12), seen(5, *[9] * 11)).high < 1


@quick
@given(runs, st.sampled_from([0.125, 2.0, 3.0, 10.0]))
def test_the_unit_of_time_does_not_matter(drawn, scale):
    a, b = both(drawn)
    scaled = (Times(scale * times.times, times.observed) for times in (a, b))
    np.testing.assert_allclose(ends(paired_ratio(*scaled)), ends(paired_ratio(a, b)), rtol=1e-13)


@quick
@given(runs, st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(drawn, random):
    shuffled = list(drawn)
    random.shuffle(shuffled)
    np.testing.assert_equal(ends(paired_ratio(*both(shuffled))), ends(paired_ratio(*both(drawn))))


@quick
@given(runs)
def test_exchanging_the_learners_gives_the_reciprocals(drawn):
    a, b = both(drawn)
    there, back = paired_ratio(a, b), paired_ratio(b, a)
    with np.errstate(divide="ignore"):
        reciprocals = 1 / np.array([back.high, back.estimate, back.low])
    np.testing.assert_allclose(ends(there), reciprocals, rtol=1e-13)


@quick
@given(runs, st.integers(1, 10_000))
def test_shorter_runs_leave_a_wider_interval(drawn, limit):
    def shorter(times):
        return Times(np.minimum(times.times, limit), times.observed & (times.times <= limit))

    a, b = both(drawn)
    whole, cut_off = paired_ratio(a, b), paired_ratio(shorter(a), shorter(b))
    assert cut_off.low <= whole.low
    assert cut_off.high >= whole.high


def test_what_is_no_pair_is_said():
    with pytest.raises(ValueError, match="3 numerators and 2 denominators"):
        paired_ratio(seen(1, 2, 3), seen(1, 2))
    with pytest.raises(ValueError, match="without values"):
        paired_ratio(seen(), seen())
