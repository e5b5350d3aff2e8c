"""What the paper claims of leaving a saddle, put to the escape times of paired seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf, isfinite

import numpy as np

from pcbench import checks
from pcbench.cases._training import Scaling
from pcbench.cases.base import Columns
from pcbench.checks import Check, Tolerance
from pcbench.statistics import Interval, Times, log_rank, paired_ratio

CLAIM = "PC leaves the saddle in fewer steps than BP (figures 2, 5, 6; theory.md 2.7)"
CONFIDENCE = 0.95

Pair = tuple[Times, Times]
"""Of PC, and of BP, seed by seed."""


def claims(pairs: Mapping[Scaling, Pair], what: str = "steps to escape") -> Iterator[Check]:
    """Check, in every scaling, that PC is sooner; say so where it is in the published one alone.

    Parameters
    ----------
    pairs
        Escape times by scaling.
    what
        What they are times of, for the name.
    """
    made = {scaling: _sooner(what, scaling, pair) for scaling, pair in pairs.items()}
    matched, published = made.get("matched"), made.get("published")
    if matched is not None and published is not None and published.passed and not matched.passed:
        made["matched"] = matched.model_copy(
            update={
                "message": f"{matched.message} The claim holds under published scaling "
                f"({published.where}), but not under matched scaling: what is published is the "
                "larger step."
            }
        )
    yield from made.values()


def comparison(scaling: Scaling, pair: Pair, what: str = "steps to escape") -> Columns:
    """Return the numbers behind the claim, for plots and other tests."""
    pc, bp = pair
    ratio = paired_ratio(pc, bp, CONFIDENCE, interpolate=False)
    return Columns(
        f"{what}, {scaling} scaling",
        {
            "PC": pc.times.tolist(),
            "PC escaped": pc.observed.astype(float).tolist(),
            "BP": bp.times.tolist(),
            "BP escaped": bp.observed.astype(float).tolist(),
            # The same in every row: a series has columns of one length.
            "median ratio": [ratio.estimate] * len(pc.times),
            "ratio, low": [ratio.low] * len(pc.times),
            "ratio, high": [ratio.high] * len(pc.times),
            "confidence": [ratio.confidence] * len(pc.times),
            "log-rank p": [log_rank(pc, bp)] * len(pc.times),
        },
    )


def ratio_details(pair: Pair) -> dict[str, float]:
    """Return the interval for the table of timings."""
    ratio = paired_ratio(*pair, CONFIDENCE, interpolate=False)
    return {"PC/BP steps, low": ratio.low, "PC/BP steps, high": ratio.high}


def _sooner(what: str, scaling: Scaling, pair: Pair) -> Check:
    pc, bp = pair
    # Of exact ranks: interpolated ones promise their confidence for smooth distributions alone.
    ratio = paired_ratio(pc, bp, CONFIDENCE, interpolate=False)
    where = described(ratio, pair)
    tolerance = Tolerance(
        float(1 / np.maximum(bp.times, 1).min()),
        f"a step, of the shortest time; {ratio.confidence:.2%} interval of the median ratio over "
        f"{len(pc.times)} pairs, sign test",
    )
    name = f"{what}, PC/BP ({scaling} scaling)"
    if isfinite(ratio.high):
        return checks.below(name, ratio.high, 1.0, tolerance, source=CLAIM, where=where)
    check = checks.below(name, inf, 1.0, tolerance, source=CLAIM, where=where)
    late = int((~pc.observed).sum())
    message = f"{name}: in {late} of {len(pc.times)} seeds PC had not escaped within its budget."
    return check.model_copy(update={"message": message})


def described(ratio: Interval, pair: Pair) -> str:
    """Say an interval, and how many runs were censored."""
    pc, bp = pair
    late = f"; not escaped: PC {int((~pc.observed).sum())}, BP {int((~bp.observed).sum())}"
    middle = f"{ratio.estimate:.3g}" if isfinite(ratio.estimate) else "open"
    return f"ratio {middle} in [{ratio.low:.3g}, {ratio.high:.3g}]{late}"
