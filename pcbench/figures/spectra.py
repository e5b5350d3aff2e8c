"""Figures 3, 4 and 8 to 10: Hessian spectra at a saddle, observed beside expected."""

from __future__ import annotations

from collections.abc import Iterator

from pcbench.figures.drawing import Drawn
from pcbench.figures.style import BLUE, ORANGE, THEORY, column, legend, panels
from pcbench.report import CaseResult

COLOURS = {"loss": ORANGE, "energy": BLUE}


def draw(case: CaseResult) -> Iterator[Drawn]:
    """Yield the spectra of loss and energy: eigenvalues, and how often each is there."""
    found = {
        objective: series
        for objective in COLOURS
        if (series := case.series.get(f"spectrum of the {objective}"))
    }
    if not found:
        return
    figure, places = panels(len(found))
    for axes, (objective, series) in zip(places, found.items(), strict=True):
        many = column(series, "multiplicity")
        observed = (column(series, "observed from") + column(series, "observed to")) / 2
        axes.vlines(observed, 0, many, color=COLOURS[objective], linewidth=3, label="observed")
        axes.plot(column(series, "expected"), many, **THEORY, label="theory")
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set_yscale("symlog", linthresh=1)  # of thousands most are 0, and one leads down
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"eigenvalue of the Hessian of the {objective}")
        axes.set_ylabel("multiplicity")
        legend(axes, "upper left")
    figure.suptitle(case.id, fontsize=9)
    yield Drawn("spectra", figure)
