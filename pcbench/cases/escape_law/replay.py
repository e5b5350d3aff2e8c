"""Whole runs, compared with descent in closed form where there is one, or counted as they leave."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.cases.escape_law.fits import extrapolated
from pcbench.cases.escape_law.parameters import Parameters
from pcbench.cases.escape_law.runs import Left
from pcbench.checks import Check
from pcbench.contract import DType, ExactInference
from pcbench.judges.problem import Problem
from pcbench.judges.reported import counted
from pcbench.theory.dynamics.escape import Moments, escape_exponent, steps_to_fall
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff

DESCENT = "PC is descent on the equilibrated energy (theory.md 2.1)"


def runs(problem: Problem, left: Left, dtype: DType, asked: Parameters) -> Iterator[Check]:
    """Judge every run by itself, as closely as theory knows it."""
    known = isinstance(asked.inference, ExactInference) or left.objective == "loss"
    if known and problem.network.is_linear:
        yield from _replayed(problem, left, dtype, asked)
    else:
        yield from _counted(problem, left, asked)


def _replayed(problem: Problem, left: Left, dtype: DType, asked: Parameters) -> Iterator[Check]:
    """Compare every run of a linear network with descent in closed form.

    What neither has seen the end of within the budget agrees.
    """
    most = asked.training.max_steps
    fallen = steps_to_fall(
        left.weights,
        Moments.of(problem.x, problem.y),
        left.objective,
        step=asked.training.learning_rate,
        fraction=asked.fraction,
        max_steps=most,
    )
    kept = np.isinf(fallen.diverged_at)
    source = DESCENT if left.objective == "energy" else "gradient descent on the loss"
    if not kept.all():
        yield checks.undecided(
            f"{left.learner}: runs that diverge",
            f"Training diverged at step {fallen.diverged_at.min():.0f} at learning rate "
            f"{asked.training.learning_rate:g} in {int((~kept).sum())} of {len(kept)} runs of "
            f"{left.learner}, by the closed form, too; lower training.learning_rate, or "
            "scales.largest.",
            source=source,
        )
    if not kept.any():
        return
    for measure, times in left.measures.items():
        due = np.minimum(fallen.loss if measure == "loss" else fallen.energy, most)
        yield checks.each_close(
            f"{left.learner}: steps until the {measure} falls",
            np.minimum(times.whole.ravel(), most)[kept],
            np.ceil(due)[kept],
            _steps_off(due, problem, asked.fraction, dtype)[kept],
            "half a step, and the steps that rounding of updates and of the value takes a run past "
            "(theory.md 2.7 and 4.1)",
            source=source,
            labels=list(
                compress(
                    (
                        f"scale {scale:.3g}, seed {seed}"
                        for scale in left.scales
                        for seed in range(1, times.whole.shape[1] + 1)
                    ),
                    kept,
                )
            ),
        )


def _counted(problem: Problem, left: Left, asked: Parameters) -> Iterator[Check]:
    """Count the runs that leave.

    All must, but for BP's that its law would have out in no less than half the budget.
    """
    power = float(escape_exponent(problem.network.n_layers))
    for measure, times in left.measures.items():
        due = np.ones(times.whole.shape, bool)
        if left.objective == "loss":
            foreseen = extrapolated(times.whole, asked.scales.ratio, power)
            due[2:] = ~(foreseen > asked.training.max_steps / 2)[2:]
        yield checks.at_least(
            f"{left.learner}: runs whose {measure} fell within the budget",
            float((np.isfinite(times.whole) & due).sum()),
            float(due.sum()),
            counted("runs"),
            source="a saddle is left (theory.md 2.7)",
        )


def _steps_off(
    due: Float[np.ndarray, " R"], problem: Problem, fraction: float, dtype: DType
) -> Float[np.ndarray, " R"]:
    """By how many steps an honest run may be off.

    None, where it crosses between two steps: counts are whole. Every update rounds the weights by
    up to ``u``, relatively; after ``T`` of them that is a relative change of ``λ u √T``, and a time
    is shorter by ``L - 2`` times that at most. The value itself is a mean over ``N`` samples, and
    rounds by ``λ u √(2N)``; as it falls ever faster, a step takes off no less than the fraction
    over ``T``. Only a crossing that close to a step may be counted with the next.
    """
    layers = max(len(problem.weights) - 2, 1)
    rounded = layers * np.sqrt(due) + np.sqrt(2 * len(problem.x)) / fraction
    shift = CONFIDENCE * unit_roundoff(dtype) * rounded * due
    later, sooner = np.ceil(due + shift), np.ceil(due - shift)
    return np.asarray(np.maximum(later - np.ceil(due), np.ceil(due) - sooner) + 0.5)
