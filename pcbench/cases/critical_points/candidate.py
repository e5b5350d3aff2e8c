"""Candidates for non-strict saddles: refined, examined along the kernel, and kept.

Refinement and examination use Theorem 1's power series in ``numpy.longdouble``, which on x86 has 11
bits more than float64; elsewhere it may be float64 itself, and nothing is lost but those.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from pcbench.case import Artifact, Columns
from pcbench.cases.critical_points.point import CriticalPoint, Weights
from pcbench.theory.linear.critical import energy_series

Long = list[Shaped[np.ndarray, "_out _inp"]]

# Newton's method doubles digits a step, and float64 arrives with ten of them or more.
_REFINEMENTS = 4
# Random combinations of kernel directions, besides the basis itself: a fall that takes several of
# them at once is missed by the basis.
_COMBINATIONS = 32
_ORDER = 4
_STEPS = 2.0 ** -np.arange(2, 13)


def refined(point: CriticalPoint) -> Weights:
    """Return weights nearer to the critical point: Newton steps with a gradient in longdouble.

    Along the kernel of the Hessian, where Newton's method has no say, nothing moves.
    """
    values, vectors = point.eigenpairs
    firm = np.abs(values) > point.curvature_tolerance.value
    inverse = vectors[:, firm] / values[firm] @ vectors[:, firm].T
    weights, size = _long(point.weights), len(values)
    for _ in range(_REFINEMENTS):
        gradient = np.array(
            [_series(point, weights, unit, 1)[1] for unit in np.eye(size)], np.longdouble
        )
        step = _split(weights, inverse.astype(np.longdouble) @ gradient)
        weights = [weight - part for weight, part in zip(weights, step, strict=True)]
    return [weight.astype(np.float64) for weight in weights]


@dataclass(frozen=True)
class Examination:
    """What the energy does along directions in the kernel of the Hessian.

    Attributes
    ----------
    directions
        Unit vectors over all parameters, ``(K, P)``.
    coefficients
        Of ``t² … t⁴`` in ``𝓕*(θ + t v)``, ``(K, 3)``.
    falls
        Largest fall ``𝓕*(θ) - 𝓕*(θ ± t v)`` over some steps ``t``, ``(K,)``; not positive where
        there is none.
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
    """Expand the energy along the kernel, and along random combinations of its directions."""
    values, vectors = point.eigenpairs
    kernel = vectors[:, np.abs(values) <= point.curvature_tolerance.value].T
    mixed = rng.standard_normal((_COMBINATIONS if len(kernel) > 1 else 0, len(kernel))) @ kernel
    directions = np.concatenate([kernel, mixed])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    weights = _long(point.weights)
    here = _series(point, weights, np.zeros(len(values)), 0)[0]
    # Differences of energies this small are rounding.
    floor = 64 * np.finfo(np.longdouble).eps * abs(here)
    coefficients, falls = [], []
    for direction in directions:
        coefficients.append(_series(point, weights, direction, _ORDER)[2:])
        lowest = min(
            _series(point, _moved(weights, signed * direction), direction, 0)[0]
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
    point: CriticalPoint, weights: Long, direction: Shaped[np.ndarray, " P"], order: int
) -> Shaped[np.ndarray, " order_plus_1"]:
    x, y = (part.astype(np.longdouble) for part in (point.batch.x, point.batch.y))
    return energy_series(weights, _split(weights, direction), x, y, order)


def _moved(weights: Long, direction: Shaped[np.ndarray, " P"]) -> Long:
    return [w + part for w, part in zip(weights, _split(weights, direction), strict=True)]


def _split(weights: Long, vector: Shaped[np.ndarray, " P"]) -> Long:
    ends = np.cumsum([weight.size for weight in weights])[:-1]
    parts = np.split(vector.astype(np.longdouble), ends)
    return [part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True)]


def _long(weights: Weights) -> Long:
    return [weight.astype(np.longdouble) for weight in weights]
