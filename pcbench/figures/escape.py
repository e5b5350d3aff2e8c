"""Figures 5, 7, 11 and 12: loss and gradient norm of both learners, over seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from pcbench.figures.drawing import Drawn
from pcbench.figures.style import LEARNERS, Series, column, legend, panels
from pcbench.report import CaseResult

WHAT = {
    "training of": ("loss, seed ", "training loss"),
    "norms of": ("gradient norm, seed ", "gradient norm"),
}
"""By the beginning of a series, the columns to draw, and what they are."""


def draw(case: CaseResult) -> Iterator[Drawn]:
    """Yield a figure for each scaling: medians over seeds, and bands that half of them are in."""
    for scaling in ("matched", "published"):
        if f"training of PC, {scaling} scaling" not in case.series:
            continue
        figure, places = panels(len(WHAT))
        for axes, (series, (beginning, label)) in zip(places, WHAT.items(), strict=True):
            for learner, (colour, dashes) in LEARNERS.items():
                found = case.series.get(f"{series} {learner}, {scaling} scaling")
                if found:
                    steps = column(found, "step")
                    seeds = _seeds(found, beginning)
                    if np.isnan(seeds).all(axis=0).any():  # all have ended before they began
                        continue
                    low, middle, high = np.nanpercentile(seeds, [25, 50, 75], axis=0)
                    axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
                    axes.plot(steps, middle, color=colour, linestyle=dashes, label=learner)
            axes.set_xlabel("training step")
            axes.set_ylabel(label)
            axes.set_yscale("log")
            legend(axes)
        figure.suptitle(f"{case.id}, {scaling} scaling: median and quartiles of seeds", fontsize=9)
        yield Drawn(f"training {scaling}", figure)


def _seeds(series: Series, beginning: str) -> Float[np.ndarray, "seeds steps"]:
    """Return a row a seed, held at its last value once a run has ended."""
    rows = np.array([column(series, name) for name in series if name.startswith(beginning)])
    for row in rows:
        known = np.flatnonzero(np.isfinite(row))
        if len(known):
            row[known[-1] + 1 :] = row[known[-1]]
    return rows
