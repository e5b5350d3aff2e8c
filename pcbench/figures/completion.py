"""Figure 6: matrix completion, with the saddles at which the loss rests."""

from __future__ import annotations

from collections.abc import Iterator

from pcbench.figures.drawing import Drawn
from pcbench.figures.style import LEARNERS, column, legend, panels
from pcbench.report import CaseResult

_LOSS = "loss on observed targets"


def draw(case: CaseResult) -> Iterator[Drawn]:
    """Yield BP's path of the first draw, and both learners from each saddle on it."""
    path, saddles = case.series.get("path of draw 1"), case.series.get("saddles")
    if not (path and saddles):
        return
    own = column(saddles, "draw") == 1
    points = [column(saddles, name)[own] for name in ("rank", "step", "loss")]
    ranks = points[0].astype(int)
    figure, [axes, *others] = panels(1 + len(ranks), width=2.8)
    colour, dashes = LEARNERS["BP"]
    axes.plot(column(path, "step"), column(path, "loss"), color=colour, linestyle=dashes)
    for rank, step, loss in zip(ranks, *points[1:], strict=True):
        axes.plot([step], [loss], marker="o", color="black", markerfacecolor="none")
        axes.annotate(f"rank {rank}", (step, loss), (4, 4), textcoords="offset points")
    axes.set_title("BP from near the origin")
    for axes_of, rank in zip(others, ranks, strict=True):
        for learner, (colour, dashes) in LEARNERS.items():
            found = case.series.get(f"{learner}: from draw 1, rank {rank}")
            if found:
                steps, losses = (column(found, name) for name in ("step", _LOSS))
                axes_of.plot(steps, losses, color=colour, linestyle=dashes, label=learner)
        axes_of.set_title(f"from the saddle of rank {rank}")
        legend(axes_of)
    axes.set_yscale("log")  # from plateau to plateau; the others show how each is left
    for each in (axes, *others):
        each.set_xlabel("training step")
        each.set_ylabel("loss on observed entries")
    figure.suptitle(case.id, fontsize=9)
    yield Drawn("completion", figure)
