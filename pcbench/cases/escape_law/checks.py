"""Verdicts on what was fitted to escape times: passed, failed, or an open question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pcbench.cases.escape_law.fits import Bounds
from pcbench.checks import Check
from pcbench.judges.basis import Basis
from pcbench.statistics import Interval, median_interval

NEARER = "the nearer end of the interval"


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
        return Basis(source, about).approx(name, middle, expected, uncertain)
    # Its nearer end is too far from the law already; the other may be anywhere.
    nearest = interval.low if interval.low > expected else interval.high
    return Basis(source, about, NEARER).approx(
        name, nearest, expected, missing or np.spacing(expected)
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
    off, middle = (interval.high - interval.low) / 2, (interval.low + interval.high) / 2
    basis = Basis(source, _about(interval, bounds))
    if not off <= bound:
        # An end that is open is not looked at; the other says on which side it is.
        middle, off = interval.low if interval.low >= bound else interval.high, 0.0
        basis = basis.at(NEARER)
    relation = basis.at_least if side == "above" else basis.at_most
    return relation(name, middle, bound, max(off, float(np.spacing(bound))))


def _median(bounds: Bounds) -> Interval:
    # Where a fit is infinite at all corners, the interval's far end is not looked at.
    most = np.finfo(float).max
    return median_interval(np.minimum(bounds.lower, most), np.maximum(bounds.upper, -most))


def _about(interval: Interval, bounds: Bounds) -> str:
    return (
        f"{interval.confidence:.1%} interval of the median of {len(bounds.lower)} seeds, each with "
        "what interpolation between steps misses, and with its last correction"
    )
