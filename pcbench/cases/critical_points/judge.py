"""The points that a search found: checks of each, and tables of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from pcbench import checks
from pcbench.case import Columns, Context, Finding
from pcbench.cases.critical_points.candidate import artifact_of, examine, refined, series_of
from pcbench.cases.critical_points.point import LEMMA_A, Batch, CriticalPoint, Verdict
from pcbench.cases.critical_points.search import Fate, Judged, Points, Search
from pcbench.checks import Check
from pcbench.judges.basis import Basis, folded
from pcbench.judges.points import joined
from pcbench.judges.reported import none_of
from pcbench.theory.linear import critical
from pcbench.theory.linear.critical import curvature_along, curvature_rounding
from pcbench.theory.rounding.bounds import hessian_rounding, unit_roundoff
from pcbench.theory.rounding.perturbation import equilibrium_rounding


@folded
def checks_anywhere(judged: Judged, points: Points, rng: np.random.Generator) -> Iterator[Check]:
    """Check what holds at every point, where gradients are not small.

    Lemma A's identity, and curvatures along random directions: a search that is led by a wrong
    Hessian may never see the saddles at which that would show.
    """
    u = unit_roundoff("float64")
    gradients, hessians = judged.landscape(points).gradients, judged.hessians(points)
    curvature = Basis(
        "Theorem 1, as a power series (theory.md 2.1)",
        f"rounding of a Hessian at u = {u:.2g} (theory.md 4)",
    )
    for start, (point, gradient, hessian) in enumerate(
        zip(points, gradients, hessians, strict=True), start=1
    ):
        weights = judged.weights(point)
        rounding = equilibrium_rounding(weights, judged.x, judged.y, u)
        yield checks.each_close(
            "Lemma A: slope along a scaling of two layers",
            critical.scaling_slopes(weights, judged.weights(gradient)),
            -critical.output_forces(weights, judged.x, judged.y),
            critical.scaling_bounds(weights, rounding.gradients),
            f"rounding of the gradients at u = {u:.2g} (theory.md 4)",
            source=LEMMA_A,
            labels=[f"layers {l} and {l + 1}" for l in range(1, len(weights))],
        ).at(f"start {start}")
        v = rng.standard_normal(len(point))
        v /= np.linalg.norm(v)
        bound = hessian_rounding(weights, judged.x, judged.y, u).eigenvalue
        own = curvature_rounding(weights, float(np.linalg.norm(hessian, 2)))
        expected = curvature_along(weights, judged.weights(v), judged.x, judged.y)
        name, at = "curvature along a random direction", f"start {start}"
        yield curvature.approx(name, v @ hessian @ v, expected, bound + own, at)


def arrivals(judged: Judged, batch: Batch, search: Search) -> list[CriticalPoint]:
    """Gather what the backend says of the points that the search arrived at."""
    which: Int[np.ndarray, " K"] = np.flatnonzero(search.fates == Fate.ARRIVED)
    return _gathered(judged, batch, search.points[which], search.hessians[which])


def _gathered(
    judged: Judged, batch: Batch, points: Points, hessians: Float[np.ndarray, "K P P"]
) -> list[CriticalPoint]:
    if len(points) == 0:
        return []
    there = judged.landscape(points)
    rows = zip(points, there.energies, there.losses, there.gradients, hessians, strict=True)
    return [
        CriticalPoint(
            judged.weights(point),
            batch,
            float(energy),
            float(loss),
            judged.weights(gradient),
            hessian,
        )
        for point, energy, loss, gradient, hessian in rows
    ]


def judge(
    context: Context, judged: Judged, points: Sequence[CriticalPoint], folder: str
) -> Iterator[Finding]:
    """Check every point, look closer at what may not be strict, and tell what was found.

    Candidates that remain go to files in the folder, and to the report.
    """
    worst, closer = checks.Worst(), []
    for number, point in enumerate(context.progress("points", points, len(points)), start=1):
        worst.add(*(check.at(f"critical point {number}") for check in point.checks()))
        closer.append(_closer(judged, point))
    yield from worst
    candidates = [point for point in closer if point.verdict is Verdict.CANDIDATE]
    stories = []
    for number, point in enumerate(candidates, start=1):
        examination = examine(point, context.rng(f"candidate {number}"))
        artifact = artifact_of(folder, point, examination)
        yield artifact
        stories.append(f"candidate {number}: {examination.conclusion}; see {artifact.path}")
        yield from series_of(f"candidate {number}", point, examination)
    strict = none_of(
        "candidates for non-strict saddles",
        len(candidates),
        len(points),
        "critical points",
        source="all saddles are strict on such targets (theory.md 2.6)",
        where="; ".join(stories),
    )
    yield strict.model_copy(update={"comparisons": max(1, len(points))})
    yield from tables(closer)


def _closer(judged: Judged, point: CriticalPoint) -> CriticalPoint:
    """Return a point as it is, unless it may be a non-strict saddle: that is refined first.

    How much the Hessian changes over the step that is left then is looked at, not bounded.
    """
    if point.verdict is not Verdict.CANDIDATE:
        return point
    nearer = joined(refined(point))[None]
    [again] = _gathered(judged, point.batch, nearer, judged.hessians(nearer))
    point = again if again.gradient_norm <= point.gradient_norm else point
    beyond = joined(point.weights) + point.newton_step
    [hessian] = judged.hessians(beyond[None])
    return replace(point, drift=float(np.linalg.norm(hessian - point.hessian, 2)))


@dataclass(frozen=True, slots=True, order=True)
class Sort:
    """Points that have these in common."""

    rank: int
    hidden_rank: int
    verdict: Verdict
    lemma: str
    energy: float


def tables(points: Sequence[CriticalPoint]) -> Iterator[Columns]:
    """Return every point as a row, and how many there were of each sort."""
    if not points:
        return
    rows = [
        {
            "gradient norm": point.gradient_norm,
            "energy": point.energy,
            "loss": point.loss,
            "rank of W_L:1": point.ranks[0],
            "rank of W_L-1:1": point.ranks[1],
            "index": point.index,
            "least eigenvalue": point.eigenvalues[0],
            "predicted curvature": point.certificate.curvature if point.certificate else np.nan,
            "measured curvature": point.along_certificate if point.certificate else np.nan,
            "norm of the weights": np.sqrt(sum(np.sum(w**2) for w in point.weights)),
            "distance": point.distance,
        }
        for point in points
    ]
    yield Columns("critical points", {k: [float(row[k]) for row in rows] for k in rows[0]})
    sorts = Counter(
        Sort(
            *point.ranks,
            point.verdict,
            point.certificate.lemma if point.certificate else "",
            float(f"{max(point.energy, 1e-12):.6g}"),
        )
        for point in points
    )
    for verdict in Verdict:
        these = sorted(sort for sort in sorts if sort.verdict is verdict)
        for lemma in sorted({sort.lemma for sort in these}):
            of_lemma = [sort for sort in these if sort.lemma == lemma]
            yield Columns(
                f"found: {verdict}" + (f" by Lemma {lemma}" if lemma else ""),
                {
                    "rank of W_L:1": [float(sort.rank) for sort in of_lemma],
                    "rank of W_L-1:1": [float(sort.hidden_rank) for sort in of_lemma],
                    "energy": [sort.energy for sort in of_lemma],
                    "points": [float(sorts[sort]) for sort in of_lemma],
                },
            )
