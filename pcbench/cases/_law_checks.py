"""Verdicts on escape times: against a law, and against descent in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcbench import checks, theory
from pcbench.backends import DType, Objective
from pcbench.cases._law_fits import Bounds, extrapolated, power_of_shifted_logarithm
from pcbench.cases._law_runs import Escapes
from pcbench.cases._problem import Problem
from pcbench.cases._seeds import Replicas
from pcbench.cases.base import CaseSkippedError
from pcbench.checks import Check, Tolerance
from pcbench.statistics import median_interval

DESCENT = "PC is descent on the equilibrated energy (theory.md 2.1)"
COUNT = Tolerance(0.5, "runs are counted")


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A law that the runs do not contradict, and do not confirm."""

    name: str
    uncertain: float

    def __str__(self) -> str:
        return f"{self.name} (to within {self.uncertain:.2g})"


def judged(
    name: str,
    bounds: Bounds,
    expected: float,
    resolution: float,
    *,
    source: str,
    missing: float = 0.0,
) -> Check | Unresolved:
    """Compare the median over seeds with a law.

    Parameters
    ----------
    name, source
        As everywhere.
    bounds
        What each seed says.
    expected
        What the law says.
    resolution
        By how much the number may be uncertain: beyond, agreement would mean nothing.
    missing
        By how much the law itself is off at these scales.
    """
    # Where a fit is infinite at all corners, the interval's far end is not looked at.
    most = np.finfo(float).max
    interval = median_interval(
        np.minimum(bounds.lower, most), np.maximum(bounds.upper, -most), interpolate=False
    )
    about = (
        f"{interval.confidence:.1%} interval of the median of {len(bounds.lower)} seeds, each with "
        "its whole steps and last correction"
    )
    if missing:
        about += (
            f"; and {missing:.2g}, twice what a chain of single units is off by at these scales"
        )
    uncertain = (interval.high - interval.low) / 2 + missing
    if interval.low - missing <= expected <= interval.high + missing:
        if not uncertain <= resolution:
            return Unresolved(name, uncertain)
        middle = (interval.low + interval.high) / 2
        return checks.approx(name, middle, expected, Tolerance(uncertain, about), source=source)
    # Its nearer end is too far from the law already; the other may be anywhere.
    nearest = interval.low if interval.low > expected else interval.high
    edge = Tolerance(missing or np.spacing(expected), about)
    return checks.approx(
        name, nearest, expected, edge, source=source, where="the nearer end of the interval"
    )


def missing_power(problem: Problem, scales: Float[np.ndarray, " 3"], fraction: float) -> float:
    """Return by how much ``κ``, fitted at three scales, is off in a chain of single units.

    The chain has the gain of the leading direction of the data, and starts with the row norms of a
    layer, ``σ √d``; as those vary from row to row and layer to layer, also with half and with twice
    that. The largest difference counts.

    Raises
    ------
    CaseSkippedError
        If such a network is not near the origin at the largest of the scales.
    """
    x, y, layers = problem.x, problem.y, problem.network.n_layers
    kappa = float(theory.logarithmic_exponent(layers))
    target = np.linalg.norm(y, 2) ** 2 / len(y)
    gain = float(target / (np.linalg.norm(x.T @ y, 2) / len(x)))
    norms = np.sqrt(np.mean(problem.network.widths[1:-1])) * scales
    # Within the direction that leaves, a part of the whole is a larger one.
    part = min(fraction / theory.leading_share(x, y), 0.999)
    off = 0.0
    for factor in (0.5, 1.0, 2.0):
        try:
            times = theory.chain_escape_times(layers, list(-np.log(factor * norms)), part, gain)
        except ValueError as error:
            raise CaseSkippedError(
                f"at a scale of {scales[0]:.2g} rows of weights are {norms[0]:.2g} long, which is "
                "not near the origin; make the scales smaller, or take more"
            ) from error
        off = max(off, abs(power_of_shifted_logarithm(*times) - kappa))
    return off


def replayed(
    problem: Problem,
    weights: Replicas,
    escapes: Escapes,
    dtype: DType,
    learner: str,
    objective: Objective,
    *,
    exact: bool,
    ratio: float,
    step: float,
    fraction: float,
    max_steps: int,
) -> Iterator[Check]:
    """Compare every run of a linear network with descent in closed form.

    What neither has seen the end of within the budget agrees. Of other networks those that leave
    are counted: all must, but for BP's that its law would have out in no less than half the budget.
    """
    observed = {"loss": escapes.loss, "energy": escapes.energy}
    measures: list[Objective] = ["loss"] if objective == "loss" else ["loss", "energy"]
    if not (exact and problem.network.is_linear):
        for measure in measures:
            times = observed[measure]
            due = np.ones(times.shape, bool)
            if objective == "loss":
                power = float(theory.escape_exponent(problem.network.n_layers))
                due[2:] = ~(extrapolated(times, ratio, power) > max_steps / 2)[2:]
            yield checks.at_least(
                f"{learner}: runs whose {measure} fell within the budget",
                float((np.isfinite(times) & due).sum()),
                float(due.sum()),
                COUNT,
                source="a saddle is left (theory.md 2.7)",
            )
        return
    fallen = theory.steps_to_fall(
        weights,
        theory.Moments.of(problem.x, problem.y),
        objective,
        step=step,
        fraction=fraction,
        max_steps=max_steps,
    )
    for measure, expected in zip(measures, (fallen.loss, fallen.energy), strict=False):
        seen = observed[measure].ravel()
        yield checks.each_close(
            f"{learner}: steps until the {measure} falls",
            np.minimum(seen, max_steps),
            np.minimum(expected, max_steps),
            _steps_off(np.minimum(expected, max_steps), len(weights), dtype),
            "a step, and rounding of every update, whose scale the time left goes by (theory.md "
            "2.7 and 4.1)",
            source=DESCENT if objective == "energy" else "gradient descent on the loss",
        )


def _steps_off(
    expected: Float[np.ndarray, " R"], layers: int, dtype: DType
) -> Float[np.ndarray, " R"]:
    """By how many steps an honest run may be off.

    Both cross a threshold between the same two steps, or one step apart where it is crossed close
    to a step. Every update rounds the weights by up to ``u``, relatively; after ``T`` of them that
    is a relative change of ``λ u √T``, and a time is shorter by ``L - 2`` times that at most.
    """
    spread = theory.CONFIDENCE * theory.unit_roundoff(dtype) * np.sqrt(expected)
    return np.asarray(1 + spread * max(layers - 2, 1) * expected)
