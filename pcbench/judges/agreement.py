"""That engines agree: one equilibrium, whichever way it is reached (theory.md 3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.case import Columns
from pcbench.checks import Check, Tolerance
from pcbench.judges.answers import InferenceResult
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.networks import NetworkSpec, activation

SOURCE = "one equilibrium, whichever way it is reached (theory.md 3.4)"
_DERIVATION = "residuals over half of the least curvature that a sample has at both ends"
# How much lower the curvature may be between two points than at both.
_CURVATURE_KEPT = 0.5


def is_smooth(network: NetworkSpec) -> bool:
    """Whether the energy has no kinks: neither a rectifier's nor those of pooling."""
    pools = any(layer.pool > 1 for layer in network.convolutions)
    return activation(network.activation).smooth and not pools


def stiffness(curvatures: Float[np.ndarray, " N"]) -> float:
    """``1/c`` for the least curvature of a sample, of which half is relied on."""
    return 1 / (_CURVATURE_KEPT * max(float(curvatures.min()), 1e-12))


@dataclass(frozen=True, slots=True)
class _End:
    """Where an engine ended, as the judge sees it, whose float64 is all that rounds here."""

    hidden: Float[np.ndarray, "N n_hidden"]
    energy: float
    rounding: float
    forces: Float[np.ndarray, " N"]
    curvatures: Float[np.ndarray, " N"]

    @classmethod
    def of(cls, judge: InferenceJudge, result: InferenceResult) -> _End:
        clamped, rounding = judge.clamped(result), judge.rounding(result)
        return cls(
            np.concatenate([clamped[0][:, :0], *clamped[1:-1]], axis=1),
            judge.energy(result),
            sum(rounding.energies),
            judge.sample_residuals(clamped) + rounding.sample_residuals,
            judge.least_curvatures(result),
        )


def agreement(
    problem: Problem, found: dict[str, InferenceResult], *, samples: int
) -> Iterator[Check | Columns]:
    """Compare activities and energies of the engines with those of the first.

    Where a sample's energy has curvature of at least ``c`` between two points with forces ``ρ``
    and ``ρ'``, they are ``(‖ρ‖ + ‖ρ'‖)/c`` apart at most, and their energies differ from the least
    one by no more than ``‖ρ‖²/2c``. Engines in valleys of their own do not agree. Where the
    curvature at an end is not positive, that is no minimum yet, and not compared: the least
    curvatures are a series.

    Parameters
    ----------
    problem
        A network without kinks, and a batch.
    found
        Answers that arrived, by the engine's name.
    samples
        How many of the batch to compare, the first ones: each has an equilibrium of its own, and
        its curvature is what costs.
    """
    problem = problem.first(samples)
    judge = InferenceJudge(problem, "float64")
    ends = {label: _End.of(judge, result.first(samples)) for label, result in found.items()}
    yield Columns(
        "least curvature where engines ended",
        {label: end.curvatures.tolist() for label, end in ends.items()},
    )
    (first, ours), *others = ends.items()
    for label, theirs in others:
        least = _CURVATURE_KEPT * np.minimum(ours.curvatures, theirs.curvatures)
        if least.min() <= 0:
            continue
        apart = (ours.forces + theirs.forces) / least
        yield checks.distance(
            f"{label} and {first}: activities",
            theirs.hidden,
            ours.hidden,
            Tolerance(float(np.linalg.norm(apart)), _DERIVATION),
            source=SOURCE,
        )
        left = np.sum((ours.forces**2 + theirs.forces**2) / (2 * least)) / judge.samples
        yield checks.approx(
            f"{label} and {first}: energy",
            theirs.energy,
            ours.energy,
            Tolerance(float(left) + ours.rounding + theirs.rounding, _DERIVATION),
            source=SOURCE,
        )
