"""Whole runs, compared with descent in theory where it is known, or counted as they leave."""

from __future__ import annotations

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
from pcbench.theory.dynamics.escape import standing, steps_to_fall
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

    Where descent has a closed form, or is backpropagation, every run is compared with descent in
    theory; what neither has seen the end of within the budget agrees. Elsewhere all runs must
    leave, except those that diverge in theory, too.

    Returns
    -------
    tuple
        The checks, and which runs diverge in theory, too: no law speaks of them.
    """
    learner, most = left.learner, asked.training.max_steps
    fallen = None
    exact = isinstance(asked.inference, ExactInference) and problem.network.is_linear
    if exact or left.objective == "loss":
        fallen = steps_to_fall(
            left.weights,
            standing(problem.x, problem.y, left.objective, theory_of(problem.network.activation)),
            step=asked.training.learning_rate,
            fraction=asked.fraction,
            max_steps=most,
        )
    diverged_at = _diverged_at(problem, left, asked) if fallen is None else fallen.diverged_at
    source = DESCENT if left.objective == "energy" else "gradient descent on the loss"
    kept, made = np.isinf(diverged_at), list[Check]()
    if not kept.all():
        story = (
            f"Training diverged at step {diverged_at.min():.0f} at learning rate "
            f"{asked.training.learning_rate:g} in {int((~kept).sum())} of {len(kept)} runs of "
            f"{learner}, in theory, too: the {left.objective} rises before it has fallen. "
            "Lower training.learning_rate, or scales.largest."
        )
        made.append(checks.undecided(f"{learner}: runs that diverge", story, source=source))
    if not kept.any():
        return made, ~kept
    for measure, times in left.measures.items():
        seen = times.whole.ravel()
        if fallen is None:
            check = checks.at_least(
                f"{learner}: runs whose {measure} fell within the budget",
                float(np.isfinite(seen)[kept].sum()),
                float(kept.sum()),
                counted("runs"),
                source="a saddle is left (theory.md 2.7)",
            )
        else:
            due = np.minimum(fallen.loss if measure == "loss" else fallen.energy, most)
            labels = [
                f"scale {scale:.3g}, seed {seed}"
                for scale in left.scales
                for seed in range(1, times.whole.shape[1] + 1)
            ]
            check = checks.each_close(
                f"{learner}: steps until the {measure} falls",
                np.minimum(seen, most)[kept],
                np.ceil(due)[kept],
                _steps_off(due, problem, asked.fraction, dtype)[kept],
                "half a step, and the steps that rounding of updates and of the value takes a run "
                "past (theory.md 2.7 and 4.1)",
                source=source,
                labels=list(compress(labels, kept)),
            )
        made.append(check)
    return made, ~kept


def _diverged_at(problem: Problem, left: Left, asked: Parameters) -> Float[np.ndarray, " R"]:
    """Return after which step runs rose that rise in theory, too; infinite for others.

    Of runs that rose and have not left the theory repeats some, and otherwise the first that rose.
    If all of these rise, so do all that rose.
    """
    rose = np.isfinite(left.rose_at)
    lost = np.flatnonzero(rose & left.lost)
    tried = lost[:: -(-len(lost) // _REPEATED) or 1]
    if not len(tried) and rose.any():
        tried = np.array([np.argmin(left.rose_at)])
    too = [run for run in tried if _rises_too(problem, left, int(run), asked)]
    if len(too) == len(tried):
        return left.rose_at
    diverged_at = np.full_like(left.rose_at, np.inf)
    diverged_at[too] = left.rose_at[too]
    return diverged_at


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
