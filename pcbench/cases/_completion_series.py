"""What there is to plot of matrix completion, and to read beside the verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pcbench.cases._completion_claims import Claims
from pcbench.cases._completion_escape import Escapes, Way
from pcbench.cases._completion_path import Saddle
from pcbench.cases._completion_saddles import Path
from pcbench.cases._training import Course
from pcbench.cases.base import Columns


def of_paths(paths: Sequence[Path]) -> Iterator[Columns]:
    """Every draw's way down."""
    for draw, path in enumerate(paths, start=1):
        yield Columns(
            f"path of draw {draw}",
            {
                "step": [float(step) for step in path.steps],
                "loss": path.losses,
                "gradient norm": path.gradient_norms,
                "rank": [float(rank) for rank in path.ranks],
            },
        )


def of_saddles(saddles: Sequence[Saddle]) -> Columns:
    """Where they were found."""
    return Columns(
        "saddles",
        {
            "draw": [saddle.draw + 1.0 for saddle in saddles],
            "rank": [float(saddle.rank) for saddle in saddles],
            "step": [float(saddle.step) for saddle in saddles],
            "loss": [saddle.losses("matched")[0] for saddle in saddles],
            "loss on all targets": [saddle.losses("published")[0] for saddle in saddles],
        },
    )


def of_escapes(way: Way, escapes: Escapes) -> Iterator[Columns]:
    """How long replicas took, and how their losses fell, which end where they end."""
    times, course, saddles = escapes.times, escapes.course, escapes.saddles
    yield Columns(
        f"{way}: escapes",
        {
            "draw": [saddle.draw + 1.0 for saddle in saddles],
            "rank": [float(saddle.rank) for saddle in saddles],
            "steps": times.times.tolist(),
            "left": [float(seen) for seen in times.observed],
            "gradient norm at the saddle": escapes.gradient_norms().tolist(),
            "largest residual of inference": np.nanmax(course.residuals, axis=0).tolist(),
        },
    )
    for place, saddle in enumerate(saddles):
        looks = course.recorded[np.isfinite(course.losses[course.recorded, place])]
        yield Columns(
            f"{way}: from {saddle}",
            {
                "step": [float(step) for step in looks],
                "loss": course.losses[looks, place].tolist(),
            },
        )


def of_ratios(claims: Claims) -> Columns:
    """How many times as long PC takes as BP, of every rank that was found."""
    names = ("rank", "published scaling", "published masking", "draws", "low", "median", "high")
    table: dict[str, list[float]] = {name: [] for name in names}
    for rank in sorted({saddle.rank for saddle in claims.saddles}):
        for way in claims.escapes:
            if way.learner == "PC":
                ratio = claims.times(way, rank).interval()
                published = [float(how == "published") for how in (way.scaling, way.masking)]
                count = claims.escapes[way].of_rank(rank).times.size
                row = (rank, *published, count, ratio.low, ratio.estimate, ratio.high)
                for column, value in zip(table.values(), row, strict=True):
                    column.append(float(value))
    return Columns("steps of PC over those of BP", table)


def of_finishes(path: Course, goal: float, escapes: dict[Way, Escapes]) -> Columns:
    """Steps from near the origin to the goal: what is won at saddles may be lost at the end."""
    pc = next(seen for way, seen in escapes.items() if way.learner == "PC")
    table: dict[str, list[float]] = {}
    places = {
        "BP": (path, range(len(path.steps))),
        "PC": (pc.course, [i for i, saddle in enumerate(pc.saddles) if saddle.rank == 0]),
    }
    for learner, (course, columns) in places.items():
        there = [course.losses[:, column] <= goal for column in columns]
        table[f"{learner} arrived"] = [float(reached.any()) for reached in there]
        table[f"{learner} steps"] = [
            float(np.argmax(reached) if reached.any() else course.steps[column])
            for reached, column in zip(there, columns, strict=True)
        ]
    return Columns("steps to the loss at which paths stop", table)
