"""Figure 6: matrix completion, with the saddles at which the loss rests."""

from __future__ import annotations

from collections.abc import Iterator

from pcbench.figures.drawing import Drawn
from pcbench.figures.style import LEARNERS, panels
from pcbench.report import CaseResult


def draw(case: CaseResult) -> Iterator[Drawn]:
    """Yield BP's path of the first draw, and both learners from each saddle on it."""
    path, saddles = case.series.get("path of draw 1"), case.series.get("saddles")
    if not (path and saddles):
        return
    own = [index for index, draw in enumerate(saddles["draw"]) if draw == 1]
    ranks = [round(saddles["rank"][index] or 0) for index in own]
    figure, [axes, *others] = panels(1 + len(ranks))
    colour, dashes = LEARNERS["BP"]
    axes.plot(path["step"], path["loss"], color=colour, linestyle=dashes)
    for index, rank in zip(own, ranks, strict=True):
        step, loss = saddles["step"][index], saddles["loss"][index]
        axes.plot([step], [loss], marker="o", color="black", markerfacecolor="none")
        axes.annotate(f"rank {rank}", (step or 0, loss or 0), (4, 4), textcoords="offset points")
    axes.set_title("BP from near the origin")
    for axes_of, rank in zip(others, ranks, strict=True):
        for learner, (colour, dashes) in LEARNERS.items():
            found = case.series.get(f"{learner}: from draw 1, rank {rank}")
            if found:
                losses = found["loss on observed targets"]
                axes_of.plot(found["step"], losses, color=colour, linestyle=dashes, label=learner)
        axes_of.set_title(f"from the saddle of rank {rank}")
        axes_of.legend()
    for each in (axes, *others):
        each.set_xlabel("training step")
        each.set_ylabel("loss on observed entries")
        each.set_yscale("log")
    figure.suptitle(case.id, fontsize=9)
    yield Drawn("completion", figure)
