"""The points that a search found: checks of each, and tables of all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from pcbench import checks
from pcbench.case import Artifact, Columns, Context, Finding
from pcbench.cases.critical_points.point import LEMMA_A, CriticalPoint, Verdict
from pcbench.cases.critical_points.search import Fate, Judged, Points, Search, Weights
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
    (*_, gradients), hessians = judged.landscape(points), judged.hessians(points)
    x, y, _ = judged.batch
    curvature = Basis(
        "Theorem 1, as a power series (theory.md 2.1)",
        f"rounding of a Hessian at u = {u:.2g} (theory.md 4)",
    )
    scaling = Basis(LEMMA_A, f"rounding of the gradients at u = {u:.2g} (theory.md 4)")
    rows = zip(points, gradients, hessians, strict=True)
    for start, (point, gradient, hessian) in enumerate(rows, start=1):
        weights = judged.weights(point)
        rounding = equilibrium_rounding(weights, x, y, u)
        yield scaling.each_close(
            "Lemma A: slope along a scaling of two layers",
            critical.scaling_slopes(weights, judged.weights(gradient)),
            -critical.output_forces(weights, x, y),
            critical.scaling_bounds(weights, rounding.gradients),
            [f"layers {l} and {l + 1}" for l in range(1, len(weights))],
        ).at(f"start {start}")
        v = rng.standard_normal(len(point))
        v /= np.linalg.norm(v)
        bound = hessian_rounding(weights, x, y, u).eigenvalue
        own = curvature_rounding(weights, float(np.linalg.norm(hessian, 2)))
        expected = curvature_along(weights, judged.weights(v), x, y)
        name, at = "curvature along a random direction", f"start {start}"
        yield curvature.approx(name, v @ hessian @ v, expected, bound + own, at)


def arrivals(search: Search) -> list[CriticalPoint]:
    """Gather what the backend says of the points that the search arrived at."""
    which: Int[np.ndarray, " K"] = np.flatnonzero(search.fates == Fate.ARRIVED)
    return _gathered(search.judged, search.points[which], search.hessians[which])


def _gathered(
    judged: Judged, points: Points, hessians: Float[np.ndarray, "K P P"]
) -> list[CriticalPoint]:
    if len(points) == 0:
        return []
    weights, (energies, losses, gradients) = judged.weights, judged.landscape(points)
    rows = zip(points, energies, losses, gradients, hessians, strict=True)
    return [
        CriticalPoint(judged.batch, weights(at), float(f), float(l), weights(gradient), hessian)
        for at, f, l, gradient, hessian in rows
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
        label = f"candidate {number}"
        examination = examine(point, context.rng(label))
        artifact, series = record_of(label, folder, point, examination)
        yield artifact
        yield from series
        stories.append(f"{label}: {examination.conclusion}; see {artifact.path}")
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
    [again] = _gathered(judged, nearer, judged.hessians(nearer))
    point = again if again.gradient_norm <= point.gradient_norm else point
    beyond = joined(point.weights) + point.newton_step
    [hessian] = judged.hessians(beyond[None])
    return point.drifted(float(np.linalg.norm(hessian - point.hessian, 2)))


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
            "measured curvature": point.along_certificate,
            "norm of the weights": np.sqrt(sum(np.sum(w**2) for w in point.weights)),
            "distance": point.distance,
        }
        for point in points
    ]
    yield Columns("critical points", {k: [float(row[k]) for row in rows] for k in rows[0]})
    sorts: defaultdict[tuple[int, str], Counter[tuple[float, ...]]] = defaultdict(Counter)
    verdicts = [*Verdict]
    for point in points:
        lemma = point.certificate.lemma if point.certificate else ""
        energy = float(f"{max(point.energy, 1e-12):.6g}")
        sorts[verdicts.index(point.verdict), lemma][*point.ranks, energy] += 1
    for (verdict, by), counts in sorted(sorts.items()):
        yield Columns.of_rows(
            f"found: {verdicts[verdict]}" + (f" by Lemma {by}" if by else ""),
            ("rank of W_L:1", "rank of W_L-1:1", "energy", "points"),
            [(*sort, count) for sort, count in sorted(counts.items())],
        )


def refined(point: CriticalPoint) -> Weights:
    """Return weights nearer to the critical point: Newton steps with a gradient in longdouble.

    Along the kernel of the Hessian, where Newton's method has no say, nothing moves.
    """
    values, vectors = point.eigenvalues, point.eigenvectors
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
    flat = np.abs(point.eigenvalues) <= point.curvature_tolerance.value
    kernel = point.eigenvectors[:, flat].T
    mixed = rng.standard_normal((_COMBINATIONS if len(kernel) > 1 else 0, len(kernel))) @ kernel
    directions = np.concatenate([kernel, mixed])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    weights = [weight.astype(np.longdouble) for weight in point.weights]
    here = _series(point, weights, np.zeros(len(flat)), 0)[0]
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


def record_of(
    label: str, folder: str, point: CriticalPoint, found: Examination
) -> tuple[Artifact, list[Columns]]:
    """Return everything that reproduces a candidate, as a file in a folder and as series.

    The file, which is named by the weights, holds ``W_1 … W_L``, ``x``, ``y``, the ``hessian`` and
    ``energy``, and of the examination ``directions``, ``coefficients`` and ``falls``.
    """
    x, y, _ = point.batch
    name = sha256(b"".join(weight.tobytes() for weight in point.weights)).hexdigest()[:12]
    arrays = {f"W_{layer}": weight for layer, weight in enumerate(point.weights, start=1)}
    arrays |= {"x": x, "y": y, "hessian": point.hessian, "energy": np.array(point.energy)}
    arrays |= {
        "directions": found.directions,
        "coefficients": found.coefficients,
        "falls": found.falls,
    }
    batch = {f"x_{i}": column.tolist() for i, column in enumerate(x.T, start=1)}
    batch |= {f"y_{i}": column.tolist() for i, column in enumerate(y.T, start=1)}
    along = {f"t^{k}": c.tolist() for k, c in enumerate(found.coefficients.T, start=2)}
    return Artifact(str(Path(folder) / f"candidate-{name}.npz"), arrays), [
        Columns(f"{label}: parameters", {"value": joined(point.weights).tolist()}),
        Columns(f"{label}: batch", batch),
        Columns(f"{label}: along the kernel", {**along, "fall": found.falls.tolist()}),
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
