"""Loss, energy and their gradient fields on a plane through a point, and on its middle lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import numpy as np
from jaxtyping import Float

from pcbench.case import Columns, Context
from pcbench.checks import Check
from pcbench.contract import InferenceSettings, Objective
from pcbench.judges.point_judge import are_well_formed, judged, verdicts_of
from pcbench.judges.points import Points, joined
from pcbench.judges.problem import Problem

Grid = Float[np.ndarray, "points 2"]


def coordinates(extent: float, points: int) -> Grid:
    """``(u, v)`` of all points of a square grid, one a row; ``v`` runs fastest."""
    ticks = np.linspace(-extent, extent, points)
    return np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)


def slices(
    context: Context,
    problem: Problem,
    directions: Points,
    grid: Grid,
    settings: InferenceSettings,
) -> Iterator[Check | Columns]:
    """Judge every point of the grid, and give what there is to plot.

    The gradient field is what a learner follows: gradients, projected on the two directions ``u``
    and ``v``, one a row. ``grid`` has the points as ``coordinates`` gives them; ``settings`` say
    how energies are found.
    """
    rows = np.split(joined(problem.parameters) + grid @ directions, int(np.sqrt(len(grid))))
    columns: dict[str, list[float]] = {"u": [], "v": [], "loss": [], "energy": []}
    columns |= {f"slope of the {o} along {w}": [] for o in get_args(Objective) for w in "uv"}
    place = iter(grid.tolist())
    for row in context.progress("slice", rows, len(rows)):
        judges = judged(context, problem, row, settings)
        yield from (check.at("on the slice") for check in verdicts_of(judges))
        if not are_well_formed(judges):
            return
        for judge in judges:
            answer = judge.answer
            fields = [directions @ answer.gradient(o) for o in get_args(Objective)]
            values = [answer.value("loss"), answer.value("energy"), *np.concatenate(fields)]
            for column, value in zip(columns.values(), [*next(place), *values], strict=True):
                column.append(float(value))
    yield Columns("plane along u and v", columns)
    for axis, name in enumerate("uv"):
        middle = np.flatnonzero(grid[:, 1 - axis] == 0)
        yield Columns(
            f"line along {name}",
            {key: [columns[key][i] for i in middle] for key in (name, "loss", "energy")},
        )
