"""That engines agree: one equilibrium, whichever way it is reached (theory.md 3.4)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from pcbench.case import Columns
from pcbench.checks import Check
from pcbench.judges.answers import InferenceResult
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.networks import NetworkSpec, activation

BASIS = Basis(
    "one equilibrium, whichever way it is reached (theory.md 3.4)",
    "residuals over half of the least curvature that a sample has at both ends",
)
# How much lower the curvature may be between two points than at both.
_CURVATURE_KEPT = 0.5


def is_smooth(network: NetworkSpec) -> bool:
    """Whether the energy has no kinks: neither a rectifier's nor those of pooling."""
    pools = any(layer.pool > 1 for layer in network.convolutions)
    return activation(network.activation).smooth and not pools


def stiffness(curvatures: Float[np.ndarray, " N"]) -> float:
    """``1/c`` for the least curvature of a sample, of which half is relied on."""
    return 1 / (_CURVATURE_KEPT * max(float(curvatures.min()), 1e-12))


def agreement(
    problem: Problem, found: dict[str, InferenceResult], *, samples: int
) -> Iterator[Check | Columns]:
    """Compare activities and energies of the engines, by name, with those of the first.

    Where a sample's energy has curvature of at least ``c`` between two points with forces ``ρ``
    and ``ρ'``, they are ``(‖ρ‖ + ‖ρ'‖)/c`` apart at most, and their energies differ from the least
    one by no more than ``‖ρ‖²/2c``. Engines in valleys of their own do not agree. Where the
    curvature at an end is not positive, that is no minimum yet, and not compared: the least
    curvatures are a series.

    The network must have no kinks. Only the first ``samples`` are compared: each has an
    equilibrium of its own, and its curvature is what costs.
    """
    problem = problem.rows(slice(samples))
    judge = InferenceJudge(problem, "float64")  # whose rounding is all that there is here
    ends = {label: result.first(samples) for label, result in found.items()}
    curvatures = {label: judge.least_curvatures(end) for label, end in ends.items()}
    forces = {
        label: judge.sample_residuals(judge.clamped(end)) + judge.rounding(end).sample_residuals
        for label, end in ends.items()
    }
    yield Columns(
        "least curvature where engines ended",
        {label: curvature.tolist() for label, curvature in curvatures.items()},
    )
    (first, ours), *others = ends.items()
    for label, theirs in others:
        least = _CURVATURE_KEPT * np.minimum(curvatures[first], curvatures[label])
        if least.min() <= 0:
            continue
        apart = (forces[first] + forces[label]) / least
        name, off = f"{label} and {first}", float(np.linalg.norm(apart))
        yield BASIS.distance(f"{name}: activities", theirs.hidden, ours.hidden, off)
        left = np.sum((forces[first] ** 2 + forces[label] ** 2) / (2 * least)) / judge.samples
        off = float(left)
        for end in (ours, theirs):
            off += sum(judge.rounding(end).energies)
        yield BASIS.approx(f"{name}: energy", judge.energy(theirs), judge.energy(ours), off)
