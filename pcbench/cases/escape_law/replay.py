"""Whole runs, compared with descent in theory where it is known, or counted as they leave."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress

import numpy as np
from jaxtyping import Bool, Float

from pcbench import checks
from pcbench.cases.escape_law.parameters import Parameters
from pcbench.cases.escape_law.runs import Left, rises
from pcbench.checks import Check
from pcbench.contract import DType, ExactInference
from pcbench.judges.problem import Problem, theory_of
from pcbench.judges.reported import counted
from pcbench.theory.dynamics.escape import Moments, Samples, steps_to_fall
from pcbench.theory.nonlinear.layered import energy_gradients, layered_energies, layered_loss
from pcbench.theory.nonlinear.second_order import relaxed_activities
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff

DESCENT = "PC is descent on the equilibrated energy (theory.md 2.1)"


_REPEATED = 5
"""At most this many runs are repeated: each of their steps relaxes every sample."""

_TRIED = 100
"""A rise later than after so many steps is not looked for in inference that the theory relaxes."""


def runs(
    problem: Problem, left: Left, dtype: DType, asked: Parameters
) -> tuple[list[Check], Bool[np.ndarray, " R"]]:
    """Judge every run by itself, as closely as theory knows it.

    Returns
    -------
    tuple
        The checks, and which runs diverge in theory, too: no law speaks of them.
    """
    if left.objective == "loss" or (
        isinstance(asked.inference, ExactInference) and problem.network.is_linear
    ):
        return _replayed(problem, left, dtype, asked)
    return _counted(problem, left, asked)


def _replayed(
    problem: Problem, left: Left, dtype: DType, asked: Parameters
) -> tuple[list[Check], Bool[np.ndarray, " R"]]:
    """Compare every run with descent in theory: in closed form, or by backpropagation.

    What neither has seen the end of within the budget agrees.
    """
    most, network = asked.training.max_steps, problem.network
    fallen = steps_to_fall(
        left.weights,
        Moments.of(problem.x, problem.y)
        if network.is_linear
        else Samples(problem.x, problem.y, theory_of(network.activation)),
        left.objective,
        step=asked.training.learning_rate,
        fraction=asked.fraction,
        max_steps=most,
    )
    kept = np.isinf(fallen.diverged_at)
    source = DESCENT if left.objective == "energy" else "gradient descent on the loss"
    made = list(_diverging(left, fallen.diverged_at, asked, source))
    if not kept.any():
        return made, ~kept
    for measure, times in left.measures.items():
        due = np.minimum(fallen.loss if measure == "loss" else fallen.energy, most)
        check = checks.each_close(
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
        made.append(check)
    return made, ~kept


def _counted(
    problem: Problem, left: Left, asked: Parameters
) -> tuple[list[Check], Bool[np.ndarray, " R"]]:
    """Count the runs that leave: all must, except those that diverge in theory, too.

    Of runs that rose and have not left the theory repeats some, and otherwise the first that rose.
    """
    rose = np.isfinite(left.rose_at)
    lost = np.flatnonzero(rose & left.lost)
    tried = lost[:: -(-len(lost) // _REPEATED) or 1]
    if not len(tried) and rose.any():
        tried = np.array([np.argmin(left.rose_at)])
    too = [run for run in tried if _rises_too(problem, left, int(run), asked)]
    unstable = rose.copy()
    if len(too) < len(tried):
        unstable[:] = False
        unstable[too] = True
    made = list(_diverging(left, np.where(unstable, left.rose_at, np.inf), asked, DESCENT))
    kept = ~unstable
    if not kept.any():
        return made, unstable
    for measure, times in left.measures.items():
        check = checks.at_least(
            f"{left.learner}: runs whose {measure} fell within the budget",
            float(np.isfinite(times.whole.ravel())[kept].sum()),
            float(kept.sum()),
            counted("runs"),
            source="a saddle is left (theory.md 2.7)",
        )
        made.append(check)
    return made, unstable


def _diverging(
    left: Left, diverged_at: Float[np.ndarray, " R"], asked: Parameters, source: str
) -> Iterator[Check]:
    """Say which runs diverge in theory, too, if any do."""
    gone = np.isfinite(diverged_at)
    if gone.any():
        yield checks.undecided(
            f"{left.learner}: runs that diverge",
            f"Training diverged at step {diverged_at.min():.0f} at learning rate "
            f"{asked.training.learning_rate:g} in {int(gone.sum())} of {len(gone)} runs of "
            f"{left.learner}, in theory, too: the {left.objective} rises before it has fallen. "
            "Lower training.learning_rate, or scales.largest.",
            source=source,
        )


def _rises_too(problem: Problem, left: Left, run: int, asked: Parameters) -> bool:
    """Whether by the step after which a run rose the theory's has risen, too.

    By half as much: inference that stops early is off by some of it.
    """
    steps = left.rose_at[run]
    if steps > _TRIED:
        return False
    weights = [layer[run] for layer in left.weights]
    values: list[list[float]] = []
    for _ in range(int(steps) + 1):
        now = problem.at(weights).layered
        try:
            activities = relaxed_activities(now, problem.x, problem.y)
        except (ArithmeticError, np.linalg.LinAlgError):
            return bool(values)  # float64 cannot tell any more; at the first step it has to
        energy = float(layered_energies(now, activities).sum())
        values.append([layered_loss(now, problem.x, problem.y), energy])
        gradients, _ = energy_gradients(now, activities)
        weights = [
            weight - asked.training.learning_rate * gradient
            for weight, gradient in zip(weights, gradients, strict=True)
        ]
    losses, energies = np.transpose(values)[:, :, None]
    return bool(np.isfinite(rises(losses, energies, part=0.5)).all())


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
