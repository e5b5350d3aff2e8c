"""Figures 5, 7, 11 and 12: loss and gradient norm of both learners, over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pcbench.figures.drawing import Drawn
from pcbench.figures.style import LEARNERS, panels
from pcbench.report import CaseResult

WHAT = {
    "training of": ("loss, seed ", "training loss"),
    "norms of": ("gradient norm, seed ", "gradient norm"),
}


def draw(case: CaseResult) -> Iterator[Drawn]:
    """Yield a figure for each scaling: the median over seeds, in the band of all of them."""
    for scaling in ("matched", "published"):
        if f"training of PC, {scaling} scaling" not in case.series:
            continue
        figure, places = panels(len(WHAT))
        for axes, (series, (column, label)) in zip(places, WHAT.items(), strict=True):
            for learner, (colour, dashes) in LEARNERS.items():
                found = case.series.get(f"{series} {learner}, {scaling} scaling")
                if found:
                    steps = np.array(found["step"], float)
                    seeds = _seeds(found, column)
                    middle = np.nanmedian(seeds, axis=0)
                    axes.fill_between(
                        steps,
                        np.nanmin(seeds, axis=0),
                        np.nanmax(seeds, axis=0),
                        color=colour,
                        alpha=0.2,
                        linewidth=0,
                    )
                    axes.plot(steps, middle, color=colour, linestyle=dashes, label=learner)
            axes.set_xlabel("training step")
            axes.set_ylabel(label)
            axes.set_yscale("log")
            axes.legend()
        figure.suptitle(f"{case.id}, {scaling} scaling: median and range of seeds", fontsize=9)
        yield Drawn(f"training {scaling}", figure)


def _seeds(series: Mapping[str, list[float | None]], column: str) -> np.ndarray:
    """Return a row a seed, held at its last value once a run has ended."""
    rows = np.array([each for name, each in series.items() if name.startswith(column)], float)
    for row in rows:
        known = np.flatnonzero(np.isfinite(row))
        if len(known):
            row[known[-1] + 1 :] = row[known[-1]]
    return rows
