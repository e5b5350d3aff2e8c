"""What there is to plot of matrix completion, and to read beside the verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pcbench.case import Columns
from pcbench.cases.matrix_completion.claims import Claims
from pcbench.cases.matrix_completion.escape import SaddleEscapes
from pcbench.cases.matrix_completion.finish import Finish
from pcbench.cases.matrix_completion.path import Descent, Saddle
from pcbench.cases.matrix_completion.saddles import Path
from pcbench.cases.matrix_completion.ways import Way


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


def of_draws(descent: Descent) -> Columns:
    """How every draw's path ended, and what on it was no saddle.

    ``unstable`` draws had a loss that rose, and take no part from there on: a smaller
    ``training.learning_rate`` has none.
    """
    draws, fates = range(len(descent.paths)), descent.course.fates
    unstable = [draw in descent.unstable or fates[draw] == "diverged" for draw in draws]
    return Columns(
        "paths (unstable: smaller learning_rate)",
        {
            "draw": [draw + 1.0 for draw in draws],
            "steps": descent.course.steps.astype(float).tolist(),
            "out of steps": [float(fates[draw] == "out of steps") for draw in draws],
            "unstable": [float(each) for each in unstable],
            "points of rest that are no saddles": [float(descent.dropped[d]) for d in draws],
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
            "loss": [saddle.loss("matched") for saddle in saddles],
            "loss on all targets": [saddle.loss("published") for saddle in saddles],
        },
    )


def of_escapes(way: Way, escapes: SaddleEscapes) -> Iterator[Columns]:
    """How long replicas took, and how their losses fell, which end where they end.

    In published masking, losses of PC are over all targets, and those of BP over the observed ones:
    each has left by its own.
    """
    counted = "all targets" if way.masking == "published" else "observed targets"
    times, course, saddles = escapes.times, escapes.course, escapes.saddles
    yield Columns(
        f"{way}: escapes",
        {
            "draw": [saddle.draw + 1.0 for saddle in saddles],
            "rank": [float(saddle.rank) for saddle in saddles],
            "steps": times.times.tolist(),
            "left": [float(seen) for seen in times.observed],
            "gradient norm at the saddle": escapes.first_gradients.tolist(),
            "largest residual of inference": np.nanmax(course.residuals, axis=0).tolist(),
        },
    )
    for place, saddle in enumerate(saddles):
        looks = course.recorded[np.isfinite(course.losses[course.recorded, place])]
        yield Columns(
            f"{way}: from {saddle}",
            {
                "step": [float(step) for step in looks],
                f"loss on {counted}": course.losses[looks, place].tolist(),
            },
        )


def of_ratios(claims: Claims) -> Columns:
    """How many times as long PC takes as BP, of every rank, claimed or not; no verdict.

    In published masking PC's loss is over all targets, BP's over the observed ones.
    """
    names = ("rank", "published scaling", "published masking", "draws", "low", "median", "high")
    table: dict[str, list[float]] = {name: [] for name in names}
    for rank in sorted({saddle.rank for saddle in claims.saddles}):
        for way in claims.escapes:
            if way.learner == "PC":
                ratios = claims.times(way, rank)
                ratio = ratios.interval()
                published = [float(how == "published") for how in (way.scaling, way.masking)]
                count = len(ratios)
                row = (rank, *published, count, ratio.low, ratio.estimate, ratio.high)
                for column, value in zip(table.values(), row, strict=True):
                    column.append(float(value))
    return Columns("steps of PC over those of BP", table)


def of_finish(finish: Finish) -> Iterator[Columns]:
    """Steps from near the origin to the goal: what is won at saddles may be lost at the end."""
    ratio, name = finish.ratio, f"{finish.way}: steps to the loss at which paths stop"
    table: dict[str, list[float]] = {"draw": [draw + 1.0 for draw in finish.draws]}
    for learner, times in (("BP", finish.theirs), ("PC", finish.ours)):
        table[f"{learner} steps"] = times.times.tolist()
        table[f"{learner} arrived"] = [float(seen) for seen in times.observed]
    yield Columns(name, table)
    if ratio is not None:
        columns = {"low": ratio.low, "median": ratio.estimate, "high": ratio.high}
        yield Columns(
            f"{name}, times those of BP",
            {
                "draws": [float(len(finish.draws))],
                **{column: [value] for column, value in columns.items()},
                "confidence": [ratio.confidence],
            },
        )
