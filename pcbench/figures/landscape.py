"""Figure 2: slices through loss and energy, with the paths of both learners."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from pcbench.figures.drawing import Drawn
from pcbench.figures.style import LEARNERS, Series, column, panels
from pcbench.report import CaseResult

LEVELS = 14
OF = {"loss": "BP", "energy": "PC"}
"""Which learner descends on which objective."""


def draw(case: CaseResult) -> Iterator[Drawn]:
    """Yield the planes, as contours, and the paths across them."""
    plane = case.series.get("plane along u and v")
    if not plane or not all(np.isfinite(column(plane, name)).all() for name in ("u", "v", *OF)):
        return
    figure, places = panels(2, height=2.9)
    side = round(len(plane["u"]) ** 0.5)
    u, v = (column(plane, key).reshape(side, side) for key in "uv")
    directions = case.series.get("directions", {})
    for axes, (objective, learner) in zip(places, OF.items(), strict=True):
        heights = column(plane, objective).reshape(side, side)
        lines = axes.contour(u, v, heights, LEVELS, cmap="cividis", linewidths=0.8)
        figure.colorbar(lines, ax=axes, label=objective)
        colour, dashes = LEARNERS[learner]
        for name, path in case.series.items():
            if name.startswith("path ") and name.endswith(f" of {learner}") and directions:
                x, y = (_along(path, column(directions, key)) for key in "uv")
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


def _along(path: Series, direction: Float[np.ndarray, " P"]) -> Float[np.ndarray, " steps"]:
    """Return where a path is along a direction of weight space."""
    names = [name for name in path if name.startswith("parameter ")]
    place: Float[np.ndarray, " steps"] = (
        np.column_stack([column(path, name) for name in names]) @ direction
    )
    return place
