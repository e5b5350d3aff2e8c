"""Verdicts on what was fitted to escape times: passed, failed, or an open question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcbench import checks
from pcbench.cases.escape_law.fits import Bounds
from pcbench.checks import Check, Tolerance
from pcbench.statistics import Interval, median_interval


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A law that the runs do not contradict, and do not confirm."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"


def against_law(
    name: str,
    bounds: Bounds,
    expected: float,
    resolution: float,
    *,
    source: str,
    missing: float = 0.0,
) -> Check | Unresolved:
    """Compare the median over seeds with a law.

    Parameters
    ----------
    name, source
        As everywhere.
    bounds
        What each seed says.
    expected
        What the law says.
    resolution
        By how much the number may be uncertain: beyond, agreement would mean nothing.
    missing
        By how much what the law says is itself uncertain at these scales.
    """
    interval = _median(bounds)
    about = _about(interval, bounds)
    if missing:
        about += f"; and {missing:.2g}, half of what chains of single units differ by"
    uncertain = (interval.high - interval.low) / 2 + missing
    if interval.low - missing <= expected <= interval.high + missing:
        if not uncertain <= resolution:
            return Unresolved(name, f"to within {uncertain:.2g}, where {resolution:.2g} would tell")
        middle = (interval.low + interval.high) / 2
        return checks.approx(name, middle, expected, Tolerance(uncertain, about), source=source)
    # Its nearer end is too far from the law already; the other may be anywhere.
    nearest = interval.low if interval.low > expected else interval.high
    edge = Tolerance(missing or np.spacing(expected), about)
    return checks.approx(
        name, nearest, expected, edge, source=source, where="the nearer end of the interval"
    )


def against_bound(
    name: str, bounds: Bounds, side: Literal["above", "below"], bound: float, *, source: str
) -> Check | Unresolved:
    """Check that the whole interval of the median over seeds is on one side of a bound.

    If none of it is, the check fails; if a part, nothing is known.
    """
    interval = _median(bounds)
    if interval.low < bound <= interval.high:
        return Unresolved(name, f"between {interval.low:.2g} and {interval.high:.2g}")
    relation = checks.at_least if side == "above" else checks.at_most
    about = _about(interval, bounds)
    off = (interval.high - interval.low) / 2
    if off <= bound:
        middle = (interval.low + interval.high) / 2
        edge = Tolerance(max(off, float(np.spacing(bound))), about)
        return relation(name, middle, bound, edge, source=source)
    # An end that is open is not looked at; the other says on which side it is.
    nearest = interval.low if interval.low >= bound else interval.high
    edge = Tolerance(float(np.spacing(bound)), about)
    return relation(
        name, nearest, bound, edge, source=source, where="the nearer end of the interval"
    )


def _median(bounds: Bounds) -> Interval:
    # Where a fit is infinite at all corners, the interval's far end is not looked at.
    most = np.finfo(float).max
    return median_interval(np.minimum(bounds.lower, most), np.maximum(bounds.upper, -most))


def _about(interval: Interval, bounds: Bounds) -> str:
    return (
        f"{interval.confidence:.1%} interval of the median of {len(bounds.lower)} seeds, each with "
        "what interpolation between steps misses, and with its last correction"
    )
