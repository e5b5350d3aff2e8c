"""The log-rank test: against scipy and brute force, and how often it is wrong."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simulated_times import cut, seen, standard_errors

from pcbench.statistics import Times, log_rank
from pcbench.statistics.log_rank import _normal

quick = settings(max_examples=50, deadline=None)

EXPERIMENTS = 2000

sample = st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=5)


def drawn(values):
    times, observed = (np.array(column) for column in zip(*values, strict=True))
    return Times(times.astype(float), observed)


def observed_less_expected(times, observed, chosen):
    """Mantel's sum over the times of events, of the replicas chosen."""
    total = 0.0
    for t in sorted({time for time, event in zip(times, observed, strict=True) if event}):
        at_risk = [i for i, time in enumerate(times) if time >= t]
        events = [i for i in at_risk if times[i] == t and observed[i]]
        total += len(set(events) & chosen)
        total -= len(events) * len(set(at_risk) & chosen) / len(at_risk)
    return total


@quick
@given(sample, sample)
def test_a_small_sample_is_tested_by_all_its_splits(a, b):
    times, observed = zip(*(a + b), strict=True)
    found = abs(observed_less_expected(times, observed, set(range(len(a)))))
    splits = [set(split) for split in combinations(range(len(a + b)), len(a))]
    as_far = [
        abs(observed_less_expected(times, observed, split)) >= found - 1e-10 for split in splits
    ]
    assert log_rank(drawn(a), drawn(b)) == pytest.approx(np.mean(as_far))
    assert log_rank(drawn(a), drawn(b)) == log_rank(drawn(b), drawn(a))


def test_a_large_sample_is_tested_as_scipy_does():
    # Bland & Altman 2004 (BMJ 328:1073), times to death of two kinds of gliomas in weeks.
    a = [6, 13, 21, 30, 37, 38, 49, 50, 63, 79, 86, 98, 202, 219]
    b = [10, 10, 12, 13, 14, 15, 16, 17, 18, 20, 24, 24, 25, 28, 30, 33, 35, 37, 40, 40, 46, 48]
    b += [76, 81, 82, 91, 112, 181]
    a_left, b_left = [31, 47, 80, 82, 82, 149], [34, 40, 70]

    def times(seen_at, left):
        return Times(
            np.array(seen_at + left, dtype=float), np.arange(len(seen_at + left)) < len(seen_at)
        )

    assert log_rank(times(a, a_left), times(b, b_left)) == pytest.approx(0.00618, abs=5e-6)


def test_complete_separation_of_two_fives_is_two_splits_of_252():
    assert log_rank(seen(1, 2, 3, 4, 5), seen(6, 7, 8, 9, 10)) == 2 / 252
    never = cut(np.full(5, 10**6), 100)
    assert log_rank(seen(1, 2, 3, 4, 5), never) == 2 / 252


@pytest.mark.parametrize("n", [1, 5, 30])
def test_nothing_seen_says_nothing(n):
    nothing = Times(np.full(n, 100.0), np.zeros(n, dtype=bool))
    assert log_rank(nothing, nothing) == 1
    # All of the one sample was stopped before anything happened in the other.
    assert log_rank(nothing, seen(*[200] * n)) == 1


@quick
@given(sample, sample, st.sampled_from([0.5, 3.0]))
def test_the_unit_of_time_does_not_matter(a, b, scale):
    scaled = (Times(scale * t.times, t.observed) for t in (drawn(a), drawn(b)))
    assert log_rank(*scaled) == log_rank(drawn(a), drawn(b))


def wrong_at_5_percent(test, n, limit, experiments=EXPERIMENTS):
    rng = np.random.default_rng(n)
    return np.mean(
        [
            test(*(cut(rng.exponential(1000, n), limit) for _ in range(2))) <= 0.05
            for _ in range(experiments)
        ]
    )


@pytest.mark.parametrize("limit", [np.inf, 1500, 700])
@pytest.mark.parametrize("n", [3, 5, 6])
def test_equal_samples_are_told_apart_no_more_often_than_the_level(n, limit):
    assert wrong_at_5_percent(log_rank, n, limit) <= 0.05 + standard_errors(0.05, EXPERIMENTS)


def test_the_normal_distribution_is_wrong_too_often_for_small_samples():
    # Why splits are enumerated: 7 % of a nominal 5 %.
    assert wrong_at_5_percent(_normal, 5, np.inf) > 0.05 + standard_errors(0.05, EXPERIMENTS)


def test_the_normal_distribution_is_wrong_about_as_often_as_it_says_for_large_samples():
    wrong = wrong_at_5_percent(log_rank, 20, np.inf, experiments=1000)
    assert abs(wrong - 0.05) <= 0.01 + standard_errors(0.05, 1000)


def test_a_tenfold_difference_is_seen():
    rng = np.random.default_rng(0)
    a, b = rng.exponential(100, 10), rng.exponential(1000, 10)
    assert log_rank(cut(a, 1500), cut(b, 1500)) < 0.01


def test_no_times_are_no_sample():
    with pytest.raises(ValueError, match="without times"):
        log_rank(seen(), seen(1, 2))


def test_scores_are_scipys_statistic():
    # Not its p-value: its numerator, from the statistic and its variance where nothing is tied.
    a, b = seen(1, 4, 6), seen(2, 3, 5)
    at_risk = np.arange(6, 0, -1)
    of_a = np.array([3, 2, 2, 2, 1, 1])
    variance = np.sum(of_a * (at_risk - of_a) / at_risk**2)
    statistic = stats.logrank(a.times, b.times).statistic
    assert statistic * np.sqrt(variance) == pytest.approx(
        observed_less_expected([1, 4, 6, 2, 3, 5], [True] * 6, {0, 1, 2})
    )
