r"""From training losses to escape times, and from escape times to intervals.

**Escape times.** Training leaves a saddle at the first step at which the smoothed loss has fallen
far enough. A replica that has not left by the end of its run is right-censored: its escape time is
known to be longer than the run, and no more. Such a time is neither dropped (the slowest replicas
would be missing from every comparison) nor taken for the length of the run. One that has left by
the first step that can be looked at is left-censored: it left then or before. Any other time lies
within the step before it, which comparisons allow for.

**Intervals for a median** ask nothing of the distribution, by inverting the sign test. Of ``n``
independent draws from a continuous distribution, the number below its median is binomial, ``B ~
Bin(n, 1/2)``, whatever the distribution. So the ``d``-th order statistics from either end have the
median between them with probability

.. math:: γ_d = 1 - 2 P(B ≤ d - 1) , \qquad [X_{(d)}, X_{(n + 1 - d)}] ,

exactly; at least so if the distribution has ties, as the ends belong to the interval.
``scipy.stats.quantile_test`` has the same interval from six values on; of fewer it has none.

**Ratios of paired times.** Two runs of a pair start from the same weights and see the same batches;
what varies from one pair to the next then varies in both, and is gone from their ratio. Where a run
was censored, its pair's ratio is known within bounds:

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

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import comb
from typing import Any

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, slots=True)
class Times:
    """Times of an event in ``n`` replicas, right-censored where it was not seen.

    Steps are counted from 1: when the event was seen, or else until when it had not happened. A
    censored time of 0 belongs to a replica of which nothing was seen. An event that is seen at
    ``visible``, the first step at which it can be, is left-censored.
    """

    times: Float[np.ndarray, " n"]
    observed: Bool[np.ndarray, " n"]
    visible: float = 0.0

    def __post_init__(self) -> None:
        if not np.all(np.isfinite(self.times) & (self.times >= 0)):
            raise ValueError("a time is negative or not finite; one that is too long is censored")
        if np.any(self.observed & (self.times == 0)):
            raise ValueError("an event was observed at time 0, but steps are counted from 1")

    def __getitem__(self, replicas: Any) -> Times:
        """Return the times of some replicas."""
        return Times(self.times[replicas], self.observed[replicas], self.visible)

    @property
    def at_once(self) -> Bool[np.ndarray, " n"]:
        """Which events were seen as soon as any can be."""
        seen: Bool[np.ndarray, " n"] = self.observed & (self.times <= self.visible)
        return seen

    @property
    def earliest(self) -> Float[np.ndarray, " n"]:
        """Until when the event has not happened for certain: 0 where it was seen at once."""
        return np.where(self.at_once, 0.0, self.times)

    @property
    def latest(self) -> Float[np.ndarray, " n"]:
        """Until when the event has happened for certain: ``inf`` where it was not seen."""
        return np.where(self.observed, self.times, np.inf)


def escape_times(
    losses: Float[np.ndarray, "T n"],
    reference: Float[np.ndarray, " n"],
    *,
    fraction: float,
    window: int,
) -> Times:
    """Find the first step at which the smoothed loss has fallen by a fraction of the saddle's.

    The smoothed loss of a step is the mean over the last ``window`` steps, that one included. There
    is none before step ``window``, so that one lucky batch at the start is no escape: steps are
    counted from 1, and an observed time is at least ``window``. A loss that has fallen for good is
    seen to have fewer than ``window`` steps later, which draws ratios of times towards 1: a window
    is best short against the times that are compared.

    The first loss that is not finite ends a replica, whether it was dropped or has diverged. What
    comes after is not looked at, and it is censored at its last finite step.

    ``losses`` are of ``T`` consecutive steps in ``n`` replicas, ``reference`` each replica's loss
    at the saddle that it leaves. An escape is a smoothed loss at or under ``(1 - fraction)
    reference``.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"a fraction of the saddle's loss lies between 0 and 1; got {fraction:g}")
    if window < 1:
        raise ValueError(f"a window has at least one step; got {window}")
    if not np.all(np.isfinite(reference) & (reference > 0)):
        raise ValueError(
            "a loss at a saddle is positive and finite, or there is nothing to fall by"
        )
    thresholds = (1 - fraction) * reference.astype(np.float64)
    # A column at a time: a million steps of a hundred replicas are not copied at once.
    found = [
        _escape(column, threshold, window)
        for column, threshold in zip(losses.T, thresholds, strict=True)
    ]
    return Times(
        times=np.array([time for time, _ in found], dtype=np.float64),
        observed=np.array([observed for _, observed in found], dtype=np.bool_),
        visible=float(window),
    )


def _escape(losses: Float[np.ndarray, " T"], threshold: float, window: int) -> tuple[int, bool]:
    steps = int(np.argmin(np.append(np.isfinite(losses), False)))
    fallen = _trailing_means(losses[:steps].astype(np.float64), window) <= threshold
    return (window + int(np.argmax(fallen)), True) if fallen.any() else (steps, False)


def _trailing_means(values: Float[np.ndarray, " T"], window: int) -> Float[np.ndarray, " _means"]:
    """Return the means of ``values[i : i + window]``, for every such ``i``.

    Cut into blocks of ``window``, a window is the end of one block and the start of the next.
    Nothing is subtracted, unlike in a difference of running sums, where a spike of the loss would
    leave its rounding in every mean after it.
    """
    blocks = np.pad(values / window, (0, -len(values) % window)).reshape(-1, window)
    starts = np.cumsum(blocks, axis=1)
    ends = np.cumsum(blocks[:, ::-1], axis=1)[:, ::-1]
    ends[:, 0] = 0.0  # a window that is one block is all in `starts`
    means: Float[np.ndarray, " _means"] = (
        ends.ravel()[: max(len(values) - window + 1, 0)] + starts.ravel()[window - 1 : len(values)]
    )
    return means


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; its ends belong to it."""

    low: float  # infinite where data bound nothing
    estimate: float  # the sample's value; NaN where censoring leaves that open
    high: float  # infinite where data bound nothing
    confidence: float  # how often such intervals cover, the least of any distribution


def median_interval(
    lower: Float[np.ndarray, " n"], upper: Float[np.ndarray, " n"], confidence: float = 0.95
) -> Interval:
    """Bound the median of the distribution of which a sample is known within bounds.

    It assumes independent draws from one distribution, and that every value lies in its bounds,
    nothing of how the bounds came about: a replica may well have been stopped because it was slow.
    An order statistic lies between those of the bounds, so that the interval covers at least as
    often as that of the unknown values. It is the shortest that reaches the confidence.

    Bounds are equal where a value is known, ``-inf`` and ``inf`` where there is none. Where ``n``
    is too small for the confidence asked for, the interval is from the least to the greatest, and
    its ``confidence`` less: 93.75 % of five values.
    """
    # In this form it is also raised for what is not a number.
    if not np.all((lower <= upper) & (lower < np.inf) & (upper > -np.inf)):
        raise ValueError("a lower bound is not a number, or above its upper bound, or infinity")
    rank, reached = median_rank(lower.size, confidence)
    lower, upper = (np.sort(bounds.astype(np.float64)) for bounds in (lower, upper))
    least, most = float(np.median(lower)), float(np.median(upper))
    estimate = least if least == most else float("nan")
    return Interval(float(lower[rank - 1]), estimate, float(upper[-rank]), reached)


@lru_cache(maxsize=128)
def median_rank(n: int, confidence: float) -> tuple[int, float]:
    """Return ``d``, counted from 1, and ``γ_d``, for a sample of ``n``; see the module."""
    if n < 1:
        raise ValueError("a sample without values has no median")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1; got {confidence:g}")
    # 1 - γ_d for d = 1, 2, …, in integers until the last division.
    missed = [2 * below / 2**n for below in accumulate(comb(n, k) for k in range((n + 1) // 2))]
    rank = max(sum(miss <= 1 - confidence for miss in missed), 1)
    return rank, 1 - missed[rank - 1]


# A logarithm whose exponential is infinite in float64, half of it also; the negative's is 0.
_BEYOND = 1e5


def paired_ratio(numerator: Times, denominator: Times, confidence: float = 0.95) -> Interval:
    """Bound the median of the ratio of paired times.

    It assumes that pairs are independent of each other and alike; times within a pair may depend
    on each other in any way, and censoring on anything. In terms of logarithms it is
    :func:`median_interval`, so that exchanging numerator and denominator gives
    the reciprocals. As observed times are counted from 1, no ratio is 0/0.

    If both learners are alike, pairs are exchangeable, and ``high < 1`` holds in a share
    ``(1 - confidence) / 2`` of experiments, ``confidence`` being the interval's own, and in less
    where ratios are 1 at times or pairs are censored, whatever the distribution. Five pairs, whose
    confidence is 93.75 % at most, have at least 1/32.

    The estimate is the median of the sample's ratios (between the two in the middle, the geometric
    mean), ``nan`` where censoring leaves that open; the ends are 0 and ``inf`` where nothing is
    known.
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
    """Bound the logarithm of every pair's ratio, by the table of the module."""
    if numerator.times.shape != denominator.times.shape:
        raise ValueError(
            f"{numerator.times.size} numerators and {denominator.times.size} denominators are no"
            " pairs: give both for every pair, censored ones included"
        )
    with np.errstate(divide="ignore"):  # log 0 = -inf, of a replica of which nothing was seen
        earliest = np.log(numerator.earliest), np.log(denominator.earliest)
    latest = np.log(numerator.latest), np.log(denominator.latest)
    return earliest[0] - latest[1], latest[0] - earliest[1]
