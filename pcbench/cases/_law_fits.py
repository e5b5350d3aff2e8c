r"""Exponents and slopes from whole steps at scales in one ratio ``ρ`` (theory.md 2.7).

A time of ``T`` steps says that something fell through its threshold between the steps ``T - 1`` and
``T``. Every fit is a function of two or three times that is monotone in each, so that its values at
the corners of the box ``[T - 1, T]`` bound it. What the law leaves out at finite scales goes on
top, seed by seed; intervals over seeds are made of such bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import log

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

Times = Float[np.ndarray, "scales seeds"]
Seeds = Float[np.ndarray, " seeds"]

LEAST_SCALES = 4
"""So many complete scales a fit of an exponent, and of its last change, needs."""

_FARTHEST = 1e9  # κ is then the exponent of a power law in all but name


@dataclass(frozen=True, slots=True)
class Bounds:
    """What each seed says about a number."""

    lower: Seeds
    upper: Seeds

    def widened(self, by: Seeds | float) -> Bounds:
        """Move both ends outwards; by what is not a number, to infinity."""
        by = np.where(np.isnan(by), np.inf, by)
        return Bounds(self.lower - by, self.upper + by)


def power(times: Times, ratio: float) -> Bounds:
    """Bound ``p`` in ``T = a σ^{-p} + b``, at the three smallest scales.

    Differences of neighbours have no ``b``, and are in the ratio ``ρ^p``. Corrections to the law
    fall off like ``σ`` or faster, so that the last is, to leading order, at most ``1/(ρ - 1)``
    times what ``p`` changed by from three scales to the next three.
    """

    def fit(first: Seeds, second: Seeds, third: Seeds) -> Seeds:
        return np.asarray(np.log((third - second) / (second - first)) / log(ratio))

    with np.errstate(divide="ignore", invalid="ignore"):
        last = _at_corners(fit, times[-3:])
        change = np.abs(fit(*times[-3:]) - fit(*times[-4:-1])) / (ratio - 1)
    return last.widened(change)


def slope(times: Times, ratio: float, gap: float) -> Bounds:
    """Bound the steps per e-fold of ``1/σ``, over the smaller half of the scales.

    Corrections fall off like ``σ^g``, with the relative gap ``g`` between the first rate and the
    next: by ``e^{g δ}`` from one half of the scales, ``δ`` wide, to the other, so that what is left
    is less than ``1/(e^{g δ} - 1)`` of the change from half to half, whole steps included.
    """
    half = (len(times) - 1) // 2
    width = half * log(ratio)
    before, last = np.diff(times[[-1 - 2 * half, -1 - half, -1]], axis=0) / width
    change = np.abs(last - before) + 2 / width
    return Bounds(last - 1 / width, last + 1 / width).widened(change / np.expm1(gap * width))


def local_power(times: Times, ratio: float) -> Bounds:
    """Bound ``d ln T / d ln(1/σ)``, over the smallest third of the scales."""
    width = (len(times) - 1) // 3 * log(ratio)
    return _at_corners(lambda before, after: np.log(after / before) / width, at_thirds(times)[1:])


def logarithmic_power(times: Times) -> Bounds:
    """Bound ``κ`` in ``T = c (Λ + b)^κ``, at three scales ``ρ^m`` apart; of a power law, infinity.

    ``b`` is what a width and a draw make of the scale.
    """
    return _at_corners(np.vectorize(power_of_shifted_logarithm, otypes=[float]), at_thirds(times))


def at_thirds(values: Float[np.ndarray, "scales *seeds"]) -> Float[np.ndarray, "3 *seeds"]:
    """Return what belongs to the smallest scale, and to those one and two thirds of all above."""
    apart = (len(values) - 1) // 3
    thirds: Float[np.ndarray, "3 *seeds"] = values[[-1 - 2 * apart, -1 - apart, -1]]
    return thirds


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
    return after / float(np.log1p(1 / (1 + brentq(excess, 1e-12, _FARTHEST))))


def extrapolated(times: Times, ratio: float, exponent: float) -> Times:
    """Fill in infinite times by a power law, from the two scales before; the first two stay."""
    filled = times.copy()
    for scale in range(2, len(filled)):
        before, last = filled[scale - 2 : scale]
        with np.errstate(invalid="ignore"):  # two that are infinite foretell nothing
            grown = last + ratio**exponent * (last - before)
        filled[scale] = np.where(np.isinf(filled[scale]), grown, filled[scale])
    return filled


def _at_corners(fit: Callable[..., Seeds], times: Times) -> Bounds:
    """Evaluate a fit at all corners of ``[T - 1, T]``; what is no number at one bounds nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        corners = np.array(
            [
                fit(*(time - earlier for time, earlier in zip(times, corner, strict=True)))
                for corner in product((0, 1), repeat=len(times))
            ]
        )
    unknown = np.isnan(corners).any(axis=0)
    return Bounds(
        np.where(unknown, -np.inf, corners.min(axis=0)),
        np.where(unknown, np.inf, corners.max(axis=0)),
    )
