"""A later step of a run, judged like the first ones: training is not right at its start alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from pcbench import checks
from pcbench.case import Context
from pcbench.cases.origin_escape.run import Later, Outcome, Start
from pcbench.checks import Check, Tolerance
from pcbench.contract import Sgd, TrainingSettings
from pcbench.judges.account import DEFINITION, array_names
from pcbench.judges.relaxed_judge import judged
from pcbench.judges.training.step_expected import loss_off
from pcbench.judges.training.step_judge import StepJudge
from pcbench.theory.nonlinear.layered import layered_loss
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff


def later_step(
    context: Context, start: Start, settings: TrainingSettings, learner: str, outcome: Outcome
) -> Iterator[Check]:
    """Judge the step that training took after its first look, if it took one.

    A fresh trainer takes it from the parameters that the run had come to, and is held against the
    theory; the run has to come to the same parameters, and to have recorded the theory's loss.
    What Adam remembers a fresh trainer cannot know: there, the run's own step is not compared.
    """
    later = outcome.later
    if later is None:
        return
    rows = None
    if start.batches is not None:
        rows = start.batches(later.step, later.step + 1)[:, later.alive]
    at = f"{learner}, step {later.step + 1}"
    yield from StepJudge(context, start.problem, settings, later.before, rows, at).findings(1)
    worst = checks.Worst()
    for place, seed in enumerate(later.alive):
        problem = start.problem.at([array[place] for array in later.before])
        if rows is not None:
            seen = rows[0, place]
            problem = replace(problem, x=problem.x[seen], y=problem.y[seen])
        worst.add(
            checks.approx(
                f"loss that the run recorded ({at})",
                float(outcome.course.losses[later.step, seed]),
                layered_loss(judged(problem), problem.x, problem.y),
                Tolerance(loss_off(problem, context.backend.dtype), "rounding (theory.md 4)"),
                source=DEFINITION,
                where=f"seed {seed + 1}",
            )
        )
    if isinstance(settings.optimiser, Sgd):
        worst.add(*_same_step(context, start, settings, later, rows, at))
    yield from worst


def _same_step(
    context: Context,
    start: Start,
    settings: TrainingSettings,
    later: Later,
    rows: Int[np.ndarray, "1 alive N"] | None,
    at: str,
) -> Iterator[Check]:
    """Check that the run took the step that a fresh trainer takes."""
    model = context.backend.build(start.problem.network, later.before)
    fresh = context.backend.trainer(model, *start.staged, settings)
    fresh.run(1, rows)
    u = unit_roundoff(context.backend.dtype)
    reached = fresh.parameters()
    names = array_names([array[0] for array in reached])
    for name, ran, due in zip(names, later.after, reached, strict=True):
        for place, seed in enumerate(later.alive):
            size = float(np.linalg.norm(due[place]))
            yield checks.distance(
                f"parameters after a step of the run ({at})",
                ran[place],
                due[place],
                Tolerance(
                    2 * CONFIDENCE * u * size + 2.0**-126,
                    "rounding of the parameters by either trainer (theory.md 4.5)",
                ),
                source="one rule takes the same step, whatever was before",
                where=f"seed {seed + 1}, {name}",
            )
