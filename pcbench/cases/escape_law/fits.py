"""Exponents and slopes from escape times at scales in one ratio ``ρ`` (theory.md 2.7).

A time is known to within what interpolation between two steps misses. Every fit is a function of
two or three times that is monotone in each, so that its values at the corners of a box of times
bound it. What the law leaves out at finite scales goes on top, seed by seed; intervals over seeds
are made of such bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import log
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq

from pcbench.checks import Check
from pcbench.judges.basis import Basis
from pcbench.statistics import Interval, median_interval

Times = Float[np.ndarray, "scales seeds"]
Seeds = Float[np.ndarray, " seeds"]

SOURCE = "leaving the origin: rates and laws (theory.md 2.7)"
LEAST_SCALES = 4
"""So many complete scales a fit of an exponent, and of its last change, needs."""

_NEAREST = 1e-12
_FARTHEST = 1e9  # κ is then the exponent of a power law in all but name


NEARER = "the nearer end of the interval"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What each seed says about a number, or about the times of a fall at every scale.

    Times are in steps, and infinite of what never fell.
    """

    lower: Seeds | Times
    upper: Seeds | Times

    def __getitem__(self, scales: Any) -> Bounds:
        """Return those of some of the scales."""
        return Bounds(self.lower[scales], self.upper[scales])

    @property
    def whole(self) -> Times:
        """The first step at which it had fallen."""
        return np.asarray(np.ceil(self.upper))

    def without(self, runs: Bool[np.ndarray, " R"]) -> Bounds:
        """Return the same, where some runs, seeds fastest, never fell."""
        never = runs.reshape(self.upper.shape)
        return Bounds(*(np.where(never, np.inf, ends) for ends in (self.lower, self.upper)))


def power(times: Bounds, ratio: float) -> Bounds:
    """Bound ``p`` in ``T = a σ^{-p} + b``, at the three smallest scales.

    Differences of neighbours have no ``b``, and are in the ratio ``ρ^p``. Corrections to the law
    fall off like ``σ`` or faster, so that the last is, to leading order, at most ``1/(ρ - 1)``
    times what ``p`` changed by from three scales to the next three; twice that is allowed, for
    the orders beyond.
    """

    def fit(first: Seeds, second: Seeds, third: Seeds) -> Seeds:
        return np.asarray(np.log((third - second) / (second - first)) / log(ratio))

    return _corrected(fit, times[-4:-1], times[-3:], (ratio - 1) / 2)


def slope(times: Bounds, ratio: float, gap: float) -> Bounds:
    """Bound the steps per e-fold of ``1/σ``, over the smaller half of the scales.

    Corrections fall off like ``σ^g``, with the relative gap ``g > 0`` between the first rate and
    the next: by ``e^{g δ}`` from one half of the scales, ``δ`` wide, to the other, so that what is
    left is less than ``1/(e^{g δ} - 1)`` of the change from half to half.
    """
    half = (len(times.upper) - 1) // 2
    width = half * log(ratio)

    def fit(first: Seeds, second: Seeds) -> Seeds:
        return np.asarray((second - first) / width)

    before, last = times[[-1 - 2 * half, -1 - half]], times[[-1 - half, -1]]
    return _corrected(fit, before, last, np.expm1(gap * width))


def local_power(times: Bounds, ratio: float) -> Bounds:
    """Bound ``d ln T / d ln(1/σ)``, over the smallest third of the scales."""
    width = (len(times.upper) - 1) // 3 * log(ratio)
    return _at_corners(
        lambda before, after: np.log(after / before) / width, times[thirds(times.upper)[1:]]
    )


def logarithmic_power(times: Bounds) -> Bounds:
    """Bound ``κ`` in ``T = c (Λ + b)^κ``, at three scales ``ρ^m`` apart; of a power law, infinity.

    ``b`` is what a width and a draw make of the scale.
    """
    fit = np.vectorize(power_of_shifted_logarithm, otypes=[float])
    return _at_corners(fit, times[thirds(times.upper)])


def thirds(values: Float[np.ndarray, "scales *seeds"]) -> list[int]:
    """Return the places of the smallest scale, and of those one and two thirds of all above."""
    apart = (len(values) - 1) // 3
    return [-1 - 2 * apart, -1 - apart, -1]


def power_of_shifted_logarithm(first: float, second: float, third: float) -> float:
    """Return ``κ`` in ``T = c (Λ + b)^κ``, from times at equally spaced ``Λ``.

    With ``u = (Λ_1 + b)/δ``, the two quotients give
    ``ln(T_3/T_2)/ln(T_2/T_1) = ln((u + 2)/(u + 1))/ln((u + 1)/u)``, which grows from 0 to 1 with
    ``u``; a power of ``1/σ`` has a ratio of 1, and no such ``u``.
    """
    if not 0 < first < second < third:
        return float("nan")
    before, after = log(second / first), log(third / second)

    def excess(u: float) -> float:
        return float(np.log1p(1 / (u + 1)) / np.log1p(1 / u) - after / before)

    if excess(_FARTHEST) <= 0:
        return float("inf")
    # Where the last time is hardly longer than the one before, u is as good as 0.
    u = brentq(excess, _NEAREST, _FARTHEST) if excess(_NEAREST) < 0 else 0.0
    return after / float(np.log1p(1 / (1 + u)))


def _at_corners(fit: Callable[..., Seeds], times: Bounds) -> Bounds:
    """Evaluate a fit at all corners of a box; one that is NaN at a corner has no bounds."""
    ends = list(zip(times.lower, times.upper, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        corners = np.array([fit(*corner) for corner in product(*ends)])
    unknown = np.isnan(corners).any(axis=0)
    return Bounds(
        np.where(unknown, -np.inf, corners.min(axis=0)),
        np.where(unknown, np.inf, corners.max(axis=0)),
    )


def _corrected(fit: Callable[..., Seeds], before: Bounds, last: Bounds, fall: float) -> Bounds:
    """Bound a fit to the last times.

    Its correction is at most ``1/fall`` of what the fit changed by since the times before. What is
    no number may have changed by anything.
    """
    earlier, bounds = _at_corners(fit, before), _at_corners(fit, last)
    with np.errstate(invalid="ignore"):
        ends = bounds.upper - earlier.lower, bounds.lower - earlier.upper
        off = np.abs(ends).max(axis=0) / fall
    off = np.where(np.isnan(off), np.inf, off)
    return Bounds(bounds.lower - off, bounds.upper + off)


def against_law(
    name: str,
    bounds: Bounds,
    expected: float,
    resolution: float,
    *,
    missing: float = 0.0,
) -> Check | str:
    """Compare the median over seeds with a law, or say why it is not resolved.

    The number may be uncertain by ``resolution``: beyond, agreement would mean nothing. What the
    law says is itself uncertain, at these scales, by ``missing``.
    """
    interval, about = _median(bounds)
    if missing:
        about += f"; and {missing:.2g}, half of what chains of single units differ by"
    uncertain = (interval.high - interval.low) / 2 + missing
    if interval.low - missing <= expected <= interval.high + missing:
        if not uncertain <= resolution:
            return f"{name} (to within {uncertain:.2g}, where {resolution:.2g} would tell)"
        middle = (interval.low + interval.high) / 2
        return Basis(SOURCE, about).approx(name, middle, expected, uncertain)
    # Its nearer end is too far from the law already; the other may be anywhere.
    nearest = interval.low if interval.low > expected else interval.high
    return Basis(SOURCE, about, NEARER).approx(
        name, nearest, expected, missing or np.spacing(expected)
    )


def against_bound(
    name: str, bounds: Bounds, side: Literal["above", "below"], bound: float
) -> Check | str:
    """Check that the whole interval of the median over seeds is on one side of a bound.

    If none of it is, the check fails; if a part, nothing is known.
    """
    interval, about = _median(bounds)
    if interval.low < bound <= interval.high:
        return f"{name} (between {interval.low:.2g} and {interval.high:.2g})"
    off, middle = (interval.high - interval.low) / 2, (interval.low + interval.high) / 2
    basis = Basis(f"{SOURCE}: half of BP's power", about)
    if not off <= bound:
        # An end that is open is not looked at; the other says on which side it is.
        middle, off = interval.low if interval.low >= bound else interval.high, 0.0
        basis = basis.at(NEARER)
    relation = basis.at_least if side == "above" else basis.at_most
    return relation(name, middle, bound, max(off, float(np.spacing(bound))))


def _median(bounds: Bounds) -> tuple[Interval, str]:
    """Bound the median over seeds, and say how."""
    # Where a fit is infinite at all corners, the interval's far end is not looked at.
    most = np.finfo(float).max
    interval = median_interval(np.minimum(bounds.lower, most), np.maximum(bounds.upper, -most))
    return interval, (
        f"{interval.confidence:.1%} interval of the median of {len(bounds.lower)} seeds, each with "
        "what interpolation between steps misses, and with its last correction"
    )
