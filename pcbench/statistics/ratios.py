"""How many times as long one learner takes as another, from pairs of runs that share their luck.

Two runs of a pair start from the same weights and see the same batches; what varies from one pair
to the next then varies in both, and is gone from their ratio. Where a run was censored, its pair's
ratio is known within bounds:

================  ==================  =====================
numerator         denominator         ratio
================  ==================  =====================
seen at ``t``     seen at ``s``       ``t / s``
censored at ``c`` seen at ``s``       at least ``c / s``
seen at ``t``     censored at ``c``   at most ``t / c``
censored          censored            anything above 0
================  ==================  =====================

A time that was seen at once (left-censored) is only known from above: as one that may be as small
as 0, it leaves the ratio open downwards in the numerator and upwards in the denominator.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pcbench.statistics.escape import Times
from pcbench.statistics.intervals import Interval, median_interval

# A logarithm whose exponential is infinite in float64, half of it also; the negative's is 0.
_BEYOND = 1e5


def paired_ratio(numerator: Times, denominator: Times, confidence: float = 0.95) -> Interval:
    """Bound the median of the ratio of paired times.

    It assumes that pairs are independent of each other and alike; times within a pair may depend
    on each other in any way, and censoring on anything. In terms of logarithms it is
    :func:`~pcbench.statistics.median_interval`, so that exchanging numerator and denominator gives
    the reciprocals. As observed times are counted from 1, no ratio is 0/0.

    If both learners are alike, pairs are exchangeable, and ``high < 1`` holds in a share
    ``(1 - confidence) / 2`` of experiments, ``confidence`` being the interval's own, and in less
    where ratios are 1 at times or pairs are censored, whatever the distribution. Five pairs, whose
    confidence is 93.75 % at most, have at least 1/32.

    Parameters
    ----------
    numerator, denominator
        Times of the pairs, in the same order.
    confidence
        As of :func:`~pcbench.statistics.median_interval`.

    Returns
    -------
    The interval of the median ratio. Its estimate is the median of the sample's ratios (between the
    two in the middle, the geometric mean), ``nan`` where censoring leaves that open; the ends are
    0 and ``inf`` where nothing is known.

    Raises
    ------
    ValueError
        If there are no pairs, a time has no partner, or the confidence is out of range.
    """
    return ratio_interval(*log_ratio_bounds(numerator, denominator), confidence)


def ratio_interval(
    lower: Float[np.ndarray, " n"], upper: Float[np.ndarray, " n"], confidence: float = 0.95
) -> Interval:
    """Bound the median of ratios whose logarithms lie within bounds, which may be infinite."""
    least, most = (np.clip(bounds, -_BEYOND, _BEYOND) for bounds in (lower, upper))
    logs = median_interval(least, most, confidence)
    with np.errstate(over="ignore"):
        low, estimate, high = np.exp([logs.low, logs.estimate, logs.high]).tolist()
    return Interval(low, estimate, high, logs.confidence)


def log_ratio_bounds(
    numerator: Times, denominator: Times
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Bound the logarithm of every pair's ratio, by the table of the module.

    Raises
    ------
    ValueError
        If a time has no partner.
    """
    if numerator.times.shape != denominator.times.shape:
        raise ValueError(
            f"{numerator.times.size} numerators and {denominator.times.size} denominators are no"
            " pairs: give both for every pair, censored ones included"
        )
    with np.errstate(divide="ignore"):  # log 0 = -inf, of a replica of which nothing was seen
        earliest = np.log(numerator.earliest), np.log(denominator.earliest)
    latest = np.log(numerator.latest), np.log(denominator.latest)
    return earliest[0] - latest[1], latest[0] - earliest[1]
