"""Figure 6 of the paper: matrix completion, and how PC leaves the saddles on BP's path.

Backpropagation from near the origin passes saddles of rank 0, 1, 2 on its way to a matrix of rank
3. They are found on its path, draw by draw; from each, both learners start anew at the same point,
and the steps that they take to leave it are compared over draws. In the published comparison PC's
step is longer, and PC sees targets that BP does not; it can be had with both, one, or neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from pcbench.case import Case, CaseParameters, Columns, Context, Finding
from pcbench.cases.matrix_completion.draws import Draws
from pcbench.cases.matrix_completion.escape import (
    Claims,
    SaddleEscapes,
    escape,
    finish,
    first_steps,
    path_checks,
    stationary_checks,
    traceless,
)
from pcbench.cases.matrix_completion.parameters import Parameters, Way
from pcbench.cases.matrix_completion.path import Descent, Path, Saddle
from pcbench.checks import Check, all_passed
from pcbench.contract import ExactInference
from pcbench.judges.answers import training_needs
from pcbench.judges.claims import insist
from pcbench.judges.problem import Problem


class MatrixCompletion(Case[Parameters]):
    """Steps that both learners take to leave the saddles on BP's path."""

    kind: ClassVar[str] = "matrix_completion"
    description: ClassVar[str] = (
        "matrix completion: the saddles of every rank on BP's path, the steps that PC "
        "and BP take to leave them, and the first of these steps compared with a closed form "
        "where there is one (figure 6)"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return what training replicas needs, and unobserved outputs."""
        asked = self.parameters
        return training_needs(asked.network, asked.engine, masked=asked.data.observed < 1)

    def run(self, context: Context) -> Iterator[Finding]:
        """Follow BP, judge the saddles that it passed, and let both learners leave them."""
        asked = self.parameters
        problems = [
            Problem.pose(context, asked.data, asked.network, partly_observed=True, draw=number)
            for number in range(asked.draws)
        ]
        draws = Draws(problems, context, asked)
        descent = Descent(draws)
        yield from of_paths(descent.paths)
        yield of_draws(descent)
        yield of_saddles(descent.saddles)
        ways = list(dict.fromkeys([*(way.opponent for way in asked.ways), *asked.ways]))
        made = list(self._judge(draws, descent.saddles, ways))
        yield from made
        if not all_passed(made):
            return  # times of learners that err compare with nothing
        escapes = {
            way: escape(draws, descent.saddles, way)
            for way in context.progress("escapes", ways, len(ways))
        }
        for way, seen in escapes.items():
            yield from of_escapes(way, seen)
        claims = Claims(draws, escapes)
        yield of_ratios(claims, descent.saddles)
        if asked.escape.finish:
            yield from finish(draws, descent, asked.ways[0])
        findings = list(self._compare(claims))
        yield from findings
        insist(findings)

    def _judge(
        self, draws: Draws, saddles: Sequence[Saddle], ways: Sequence[Way]
    ) -> Iterator[Check]:
        """Judge what BP said of its path, and what each learner does first at the saddles."""
        asked, dtype = self.parameters, draws.context.backend.dtype
        yield from path_checks(saddles, asked.training.learning_rate, dtype)
        if asked.network.activation == "identity":
            yield from stationary_checks(saddles, dtype)
        for way in ways:
            if way.learner == "BP" or isinstance(asked.engine, ExactInference):
                yield from first_steps(draws, saddles, way)
            if way.masking == "matched" and asked.data.observed < 1:
                yield traceless(draws, saddles, way)

    def _compare(self, claims: Claims) -> Iterator[Finding]:
        """Put the claims to every rank; those required must hold."""
        asked = self.parameters
        linear = asked.network.activation == "identity"
        for rank in range(asked.data.rank):
            required = rank in asked.required
            # That BP's gradient vanishes where PC's does not is a theorem at the origin alone.
            yield from claims.steeper(rank, required=required and (rank == 0 or linear))
            yield from claims.sooner(rank, required=required)


def of_paths(paths: Sequence[Path]) -> Iterator[Columns]:
    """Every draw's way down."""
    names = ("step", "loss", "gradient norm", "rank")
    for draw, path in enumerate(paths, start=1):
        rows = zip(path.steps, path.losses, path.gradient_norms, path.ranks, strict=True)
        yield Columns.of_rows(f"path of draw {draw}", names, list(rows))


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
    names = ("draw", "rank", "step", "loss", "loss on all targets")
    rows = [
        (each.draw + 1, each.rank, each.step, each.loss("matched"), each.loss("published"))
        for each in saddles
    ]
    return Columns.of_rows("saddles", names, rows)


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
        rows = [(step, course.losses[step, place]) for step in looks]
        yield Columns.of_rows(f"{way}: from {saddle}", ("step", f"loss on {counted}"), rows)


def of_ratios(claims: Claims, saddles: Sequence[Saddle]) -> Columns:
    """How many times as long PC takes as BP, of every rank, claimed or not; no verdict.

    In published masking PC's loss is over all targets, BP's over the observed ones.
    """
    names = ("rank", "published scaling", "published masking", "draws", "low", "median", "high")
    table: list[tuple[float, ...]] = []
    for rank in sorted({saddle.rank for saddle in saddles}):
        for way in claims.escapes:
            if way.learner == "PC":
                ratios = claims.times(way, rank)
                published = [how == "published" for how in (way.scaling, way.masking)]
                ratio = ratios.interval()
                ends = ratio.low, ratio.estimate, ratio.high
                table.append((rank, *published, len(ratios), *ends))
    return Columns.of_rows("steps of PC over those of BP", names, table)
