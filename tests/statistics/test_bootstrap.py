"""Why no interval comes from the bootstrap: of five to ten values, it covers far too seldom."""

import numpy as np
import pytest

from tests.statistics.simulated_times import ends_of, standard_errors

SAMPLES = 2000
RESAMPLES = 1000


def bootstrap_coverage(n, statistic):
    """Coverage of the median 0 of normal log ratios by the percentile bootstrap, nominally 95 %."""
    rng = np.random.default_rng(n)
    covered = 0
    for sample in rng.standard_normal((SAMPLES, n)):
        resampled = statistic(sample[rng.integers(n, size=(RESAMPLES, n))], axis=1)
        low, high = np.quantile(resampled, [0.025, 0.975])
        covered += low <= 0 <= high
    return covered / SAMPLES


def sign_test_coverage(n):
    sample = np.random.default_rng(n).standard_normal((SAMPLES, n))
    low, high = ends_of(sample, sample)
    return np.mean((low <= 0) & (high >= 0))


@pytest.mark.parametrize("n", [5, 7, 10])
def test_the_bootstrap_of_a_geometric_mean_covers_too_seldom(n):
    expected = {5: 0.83, 7: 0.87, 10: 0.90}[n]
    covered = bootstrap_coverage(n, np.mean)
    assert covered == pytest.approx(expected, abs=0.01 + standard_errors(expected, SAMPLES))
    assert covered < sign_test_coverage(n) - 0.02


def test_the_bootstrap_of_a_median_is_the_sign_tests_interval_without_its_confidence():
    # A resample of 7 has the k-th value as its median with a known chance: under 2.5 % for the
    # least, over it for the two least. So the interval is [X_(2), X_(6)], of confidence 87.5 %.
    covered = bootstrap_coverage(7, np.median)
    assert covered == pytest.approx(0.875, abs=standard_errors(0.875, SAMPLES))
    assert covered < sign_test_coverage(7) - 0.04
