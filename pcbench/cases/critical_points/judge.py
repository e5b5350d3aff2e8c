"""The points that a search found: checks of each, and tables of all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from pcbench import checks
from pcbench.case import Artifact, Columns, Context, Finding
from pcbench.cases.critical_points.point import LEMMA_A, Batch, CriticalPoint, Verdict, Weights
from pcbench.cases.critical_points.search import Fate, Judged, Points, Search
from pcbench.checks import Check
from pcbench.judges.basis import Basis, folded
from pcbench.judges.points import joined
from pcbench.judges.reported import none_of
from pcbench.theory.linear import critical
from pcbench.theory.linear.critical import curvature_along, curvature_rounding, energy_series
from pcbench.theory.rounding.bounds import hessian_rounding, unit_roundoff
from pcbench.theory.rounding.perturbation import equilibrium_rounding

Long = list[Shaped[np.ndarray, "_out _inp"]]

# Newton's method doubles digits a step, and float64 arrives with ten of them or more.
_REFINEMENTS = 4
# Random combinations of kernel directions, besides the basis itself: a fall that takes several of
# them at once is missed by the basis.
_COMBINATIONS = 32
_ORDER = 4
_STEPS = 2.0 ** -np.arange(2, 13)


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
        scaling = Basis(LEMMA_A, f"rounding of the gradients at u = {u:.2g} (theory.md 4)")
        yield scaling.each_close(
            "Lemma A: slope along a scaling of two layers",
            critical.scaling_slopes(weights, judged.weights(gradient)),
            -critical.output_forces(weights, judged.x, judged.y),
            critical.scaling_bounds(weights, rounding.gradients),
            [f"layers {l} and {l + 1}" for l in range(1, len(weights))],
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
    sorts: defaultdict[tuple[Verdict, str], Counter[tuple[int, int, float]]] = defaultdict(Counter)
    for point in points:
        lemma = point.certificate.lemma if point.certificate else ""
        energy = float(f"{max(point.energy, 1e-12):.6g}")
        sorts[point.verdict, lemma][*point.ranks, energy] += 1
    for verdict, by in sorted(sorts, key=lambda sort: ([*Verdict].index(sort[0]), sort[1])):
        counts = sorted(sorts[verdict, by].items())
        yield Columns(
            f"found: {verdict}" + (f" by Lemma {by}" if by else ""),
            {
                "rank of W_L:1": [float(rank) for (rank, _, _), _ in counts],
                "rank of W_L-1:1": [float(hidden_rank) for (_, hidden_rank, _), _ in counts],
                "energy": [energy for (_, _, energy), _ in counts],
                "points": [float(count) for _, count in counts],
            },
        )


def refined(point: CriticalPoint) -> Weights:
    """Return weights nearer to the critical point: Newton steps with a gradient in longdouble.

    Along the kernel of the Hessian, where Newton's method has no say, nothing moves.
    """
    values, vectors = point.eigenpairs
    firm = np.abs(values) > point.curvature_tolerance.value
    inverse = vectors[:, firm] / values[firm] @ vectors[:, firm].T
    weights, size = [w.astype(np.longdouble) for w in point.weights], len(values)
    for _ in range(_REFINEMENTS):
        gradient = np.array(
            [_series(point, weights, unit, 1)[1] for unit in np.eye(size)], np.longdouble
        )
        step = _split(weights, inverse.astype(np.longdouble) @ gradient)
        weights = [weight - part for weight, part in zip(weights, step, strict=True)]
    return [weight.astype(np.float64) for weight in weights]


@dataclass(frozen=True)
class Examination:
    """What the energy does along unit vectors in the kernel of the Hessian.

    ``coefficients`` are those of ``t² … t⁴`` in ``𝓕*(θ + t v)``, and ``falls`` the largest fall
    ``𝓕*(θ) - 𝓕*(θ ± t v)`` over some steps ``t``; not positive where there is none.
    """

    directions: Float[np.ndarray, "K P"]
    coefficients: Float[np.ndarray, "K 3"]
    falls: Float[np.ndarray, " K"]

    @property
    def conclusion(self) -> str:
        """What was found, in a sentence."""
        deepest = int(np.argmax(self.falls)) if len(self.falls) else 0
        if len(self.falls) == 0 or self.falls[deepest] <= 0:
            return "no fall was found along its kernel: it may be a minimum after all"
        third, fourth = self.coefficients[deepest, 1:]
        return (
            f"the energy falls by {self.falls[deepest]:.3g} along a direction of no curvature "
            f"(t³: {third:.3g}, t⁴: {fourth:.3g}): a saddle, and not a strict one"
        )


def examine(point: CriticalPoint, rng: np.random.Generator) -> Examination:
    """Expand the energy along the kernel, and along random combinations of its directions.

    By Theorem 1's power series in ``numpy.longdouble``, which on x86 has 11 bits more than float64;
    elsewhere it may be float64 itself, and nothing is lost but those.
    """
    values, vectors = point.eigenpairs
    kernel = vectors[:, np.abs(values) <= point.curvature_tolerance.value].T
    mixed = rng.standard_normal((_COMBINATIONS if len(kernel) > 1 else 0, len(kernel))) @ kernel
    directions = np.concatenate([kernel, mixed])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    weights = [weight.astype(np.longdouble) for weight in point.weights]
    here = _series(point, weights, np.zeros(len(values)), 0)[0]
    # Differences of energies this small are rounding.
    floor = 64 * np.finfo(np.longdouble).eps * abs(here)
    coefficients, falls = [], []
    for direction in directions:
        coefficients.append(_series(point, weights, direction, _ORDER)[2:])
        lowest = min(
            _series(point, weights, direction, 0, signed)[0]
            for step in _STEPS
            for signed in (step, -step)
        )
        falls.append(here - lowest if here - lowest > floor else 0.0)
    return Examination(
        directions,
        np.array(coefficients, np.float64).reshape(-1, _ORDER - 1),
        np.array(falls, np.float64),
    )


def artifact_of(folder: str, point: CriticalPoint, examination: Examination) -> Artifact:
    """Return everything that reproduces a candidate, as a file in a folder, named by its weights.

    It holds ``W_1 … W_L``, ``x``, ``y``, the ``hessian`` and ``energy``, and of the examination
    ``directions``, ``coefficients`` and ``falls``.
    """
    name = sha256(b"".join(weight.tobytes() for weight in point.weights)).hexdigest()[:12]
    weights = {f"W_{layer}": weight for layer, weight in enumerate(point.weights, start=1)}
    arrays = weights | {
        "x": point.batch.x,
        "y": point.batch.y,
        "hessian": point.hessian,
        "energy": np.array(point.energy),
        "directions": examination.directions,
        "coefficients": examination.coefficients,
        "falls": examination.falls,
    }
    return Artifact(str(Path(folder) / f"candidate-{name}.npz"), arrays)


def series_of(label: str, point: CriticalPoint, examination: Examination) -> list[Columns]:
    """Return weights, batch and examination as series, so that the report has the candidate too."""
    x, y = point.batch.x, point.batch.y
    batch = {f"x_{i}": column.tolist() for i, column in enumerate(x.T, start=1)}
    batch |= {f"y_{i}": column.tolist() for i, column in enumerate(y.T, start=1)}
    parameters = np.concatenate([weight.ravel() for weight in point.weights])
    along = {f"t^{k}": c.tolist() for k, c in enumerate(examination.coefficients.T, start=2)}
    return [
        Columns(f"{label}: parameters", {"value": parameters.tolist()}),
        Columns(f"{label}: batch", batch),
        Columns(f"{label}: along the kernel", {**along, "fall": examination.falls.tolist()}),
    ]


def _series(
    point: CriticalPoint,
    weights: Long,
    direction: Shaped[np.ndarray, " P"],
    order: int,
    moved: float = 0.0,
) -> Shaped[np.ndarray, " order_plus_1"]:
    """Expand ``𝓕*(θ + t v)`` about ``t = moved``."""
    x, y = (part.astype(np.longdouble) for part in (point.batch.x, point.batch.y))
    if moved:
        beyond = _split(weights, moved * direction)
        weights = [weight + part for weight, part in zip(weights, beyond, strict=True)]
    return energy_series(weights, _split(weights, direction), x, y, order)


def _split(weights: Long, vector: Shaped[np.ndarray, " P"]) -> Long:
    ends = np.cumsum([weight.size for weight in weights])[:-1]
    parts = np.split(vector.astype(np.longdouble), ends)
    return [part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True)]
