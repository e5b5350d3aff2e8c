r"""An interval for a median that asks nothing of the distribution, by inverting the sign test.

Of ``n`` independent draws from a continuous distribution, the number below its median is binomial,
``B ~ Bin(n, 1/2)``, whatever the distribution. So the ``d``-th order statistics from either end
have the median between them with probability

.. math:: γ_d = 1 - 2 P(B ≤ d - 1) , \qquad [X_{(d)}, X_{(n + 1 - d)}] ,

exactly; at least so if the distribution has ties, as the ends belong to the interval.
``scipy.stats.quantile_test`` has the same interval from six values on; of fewer it has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import comb

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; its ends belong to it.

    Attributes
    ----------
    low, high
        Its ends; infinite where data bound nothing.
    estimate
        The sample's value, and ``nan`` where censoring leaves that open.
    confidence
        The probability with which such intervals cover, the least of any distribution: mostly more
        than was asked for.
    """

    low: float
    estimate: float
    high: float
    confidence: float


def median_interval(
    lower: Float[np.ndarray, " n"], upper: Float[np.ndarray, " n"], confidence: float = 0.95
) -> Interval:
    """Bound the median of the distribution of which a sample is known within bounds.

    It assumes independent draws from one distribution, and that every value lies in its bounds,
    nothing of how the bounds came about: a replica may well have been stopped because it was slow.
    An order statistic lies between those of the bounds, so that the interval covers at least as
    often as that of the unknown values. It is the shortest that reaches the confidence.

    Parameters
    ----------
    lower, upper
        Bounds of every value, equal where it is known; ``-inf`` and ``inf`` where there is none.
    confidence
        Asked for, strictly between 0 and 1. Where ``n`` is too small for it, the interval is from
        the least to the greatest, and its ``confidence`` less: 93.75 % of five values.

    Raises
    ------
    ValueError
        If there are no values, bounds hold none, or the confidence is out of range.
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
