"""Figure 1: the energy at equilibrium against Theorem 1, along training."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.ticker import MaxNLocator

from pcbench.figures.drawing import Drawn
from pcbench.figures.style import BLUE, GREY, THEORY, column, legend, panels
from pcbench.report import CaseResult


def draw(case: CaseResult) -> Iterator[Drawn]:
    """Yield energy, theorem and loss by step."""
    found = case.series.get("training")
    if not found:
        return
    figure, [axes] = panels(1, width=4.2)
    steps = column(found, "step")
    axes.plot(steps, column(found, "loss"), color=GREY, linestyle=":", label="loss")
    axes.plot(steps, column(found, "energy"), color=BLUE, label="energy that inference reached")
    axes.plot(steps, column(found, "theorem 1"), **THEORY, label="Theorem 1")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("training step")
    axes.set_ylabel("energy per sample")
    axes.set_yscale("log")
    legend(axes)
    axes.set_title(case.id)
    yield Drawn("energy", figure)
