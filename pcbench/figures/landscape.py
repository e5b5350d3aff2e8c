"""Figure 2: slices through loss and energy, with the paths of both learners."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pcbench.figures.drawing import Drawn
from pcbench.figures.style import LEARNERS, panels
from pcbench.report import CaseResult

LEVELS = 14
OF = {"loss": "BP", "energy": "PC"}
"""Which learner descends on which objective."""


def draw(case: CaseResult) -> Iterator[Drawn]:
    """Yield the planes, as contours, and the paths across them."""
    plane = case.series.get("plane along u and v")
    if not plane:
        return
    figure, places = panels(2, height=2.9)
    side = round(len(plane["u"]) ** 0.5)
    u, v = (np.array(plane[key], float).reshape(side, side) for key in "uv")
    directions = case.series.get("directions", {})
    for axes, (objective, learner) in zip(places, OF.items(), strict=True):
        heights = np.array(plane[objective], float).reshape(side, side)
        lines = axes.contour(u, v, heights, LEVELS, cmap="cividis", linewidths=0.8)
        figure.colorbar(lines, ax=axes, label=objective)
        colour, dashes = LEARNERS[learner]
        for name, path in case.series.items():
            if name.startswith("path ") and name.endswith(f" of {learner}") and directions:
                x, y = (_along(path, directions[key]) for key in "uv")
                axes.plot(x, y, color=colour, linestyle=dashes, linewidth=1)
                axes.plot(x[:1], y[:1], marker=".", color=colour)
        axes.plot(0, 0, marker="+", color="black", markersize=8)
        axes.set_xlim(u.min(), u.max())
        axes.set_ylim(v.min(), v.max())
        axes.set_xlabel("along u, the most negative curvature")
        axes.set_ylabel("along v, the largest")
        axes.set_title(f"{objective}, and paths of {learner}")
    figure.suptitle(case.id, fontsize=9)
    yield Drawn("landscape", figure)


def _along(path: dict[str, list[float | None]], direction: list[float | None]) -> np.ndarray:
    """Return where a path is along a direction of weight space."""
    columns = [np.array(column, float) for name, column in path.items() if "parameter" in name]
    return np.asarray(np.column_stack(columns) @ np.array(direction, float))
