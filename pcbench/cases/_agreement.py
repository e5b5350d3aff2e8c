"""That engines agree: one equilibrium, whichever way it is reached (theory.md 3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.backends import DType
from pcbench.cases._problem import Problem
from pcbench.cases._relaxed import Relaxed, RelaxedJudge
from pcbench.checks import Check, Tolerance
from pcbench.networks import NetworkSpec

SOURCE = "one equilibrium, whichever way it is reached (theory.md 3.4)"
_DERIVATION = "residuals over half of the least curvature that a sample has at both ends"
_SMOOTH = ("identity", "tanh", "silu")
# How much lower the curvature may be between two points than at both.
_CURVATURE_KEPT = 0.5


def is_smooth(network: NetworkSpec) -> bool:
    """Whether the energy has no kinks: neither a rectifier's nor those of pooling."""
    return network.activation in _SMOOTH and all(layer.pool == 1 for layer in network.convolutions)


def stiffness(curvatures: Float[np.ndarray, " N"]) -> float:
    """``1/c`` for the least curvature of a sample, of which half is relied on."""
    return 1 / (_CURVATURE_KEPT * max(float(curvatures.min()), 1e-12))


@dataclass(frozen=True, slots=True)
class _End:
    """Where an engine ended, as the judge sees it; ``residual`` and ``rounding`` bound rounding."""

    hidden: Float[np.ndarray, "N n_hidden"]
    energy: float
    forces: Float[np.ndarray, " N"]
    curvatures: Float[np.ndarray, " N"]
    residual: float
    rounding: float

    @classmethod
    def of(cls, judge: RelaxedJudge, relaxed: Relaxed) -> _End:
        clamped, rounding = judge.clamped(relaxed), judge.rounding(relaxed)
        return cls(
            np.concatenate([clamped[0][:, :0], *clamped[1:-1]], axis=1),
            judge.energy(relaxed),
            judge.sample_residuals(clamped),
            judge.least_curvatures(relaxed),
            rounding.residual,
            sum(rounding.energies),
        )


def agreement(
    problem: Problem, dtype: DType, found: dict[str, Relaxed], *, samples: int
) -> Iterator[Check]:
    """Compare activities and energies of the engines with those of the first.

    Where a sample's energy has curvature of at least ``c`` between two points with forces ``ρ``
    and ``ρ'``, they are ``(‖ρ‖ + ‖ρ'‖)/c`` apart at most, and their energies differ from the least
    one by no more than ``‖ρ‖²/2c``.

    Parameters
    ----------
    problem
        A network without kinks, and a batch.
    dtype
        The backend's.
    found
        Answers that arrived, by the engine's name.
    samples
        How many of the batch to compare, the first ones: each has an equilibrium of its own, and
        its curvature is what costs.
    """
    problem = problem.first(samples)
    judge = RelaxedJudge(problem, dtype)
    ends = {label: _End.of(judge, relaxed.first(samples)) for label, relaxed in found.items()}
    for label, end in ends.items():
        yield checks.at_least(
            f"{label}: least curvature of a sample",
            float(end.curvatures.min()),
            0.0,
            Tolerance(1e-12, "an equilibrium that inference reaches is a minimum"),
            source=SOURCE,
        )
    (first, ours), *others = ends.items()
    for label, theirs in others:
        least = _CURVATURE_KEPT * np.minimum(ours.curvatures, theirs.curvatures)
        if least.min() <= 0:
            continue
        off = [end.forces + ours.residual + theirs.residual for end in (ours, theirs)]
        yield checks.distance(
            f"{label} and {first}: activities",
            theirs.hidden,
            ours.hidden,
            Tolerance(float(np.linalg.norm((off[0] + off[1]) / least)), _DERIVATION),
            source=SOURCE,
        )
        left = float(np.sum((off[0] ** 2 + off[1] ** 2) / (2 * least))) / judge.samples
        yield checks.approx(
            f"{label} and {first}: energy",
            theirs.energy,
            ours.energy,
            Tolerance(left + ours.rounding + theirs.rounding, _DERIVATION),
            source=SOURCE,
        )
