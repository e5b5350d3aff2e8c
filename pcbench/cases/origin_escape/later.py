"""A later step of a run, judged like the first ones: training is not right at its start alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from pcbench.cases.origin_escape.run import Later, Outcome, Start
from pcbench.checks import Check
from pcbench.contract import Sgd, TrainingSettings
from pcbench.judges.basis import Basis, folded
from pcbench.judges.reported import DEFINITION, array_names
from pcbench.judges.training.step_expected import loss_off
from pcbench.judges.training.step_judge import StepJudge
from pcbench.theory.nonlinear.layered import layered_loss
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff
from pcbench.theory.rounding.range import UndecidableError
from pcbench.theory.rounding.underflow import SMALLEST


@folded
def later_step(
    start: Start, settings: TrainingSettings, learner: str, outcome: Outcome
) -> Iterator[Check]:
    """Judge the step that training took after its first look, if it took one.

    A fresh trainer takes it from the parameters that the run had reached, and is compared with the
    theory; the run has to reach the same parameters, and to have recorded the theory's loss. A
    fresh trainer has no history of Adam: with Adam the run's own step is not compared.
    """
    later = outcome.later
    if later is None:
        return
    rows = None
    if start.batches is not None:
        rows = start.batches(later.step, later.step + 1)[:, later.alive]
    at = f"{learner}, step {later.step + 1}"
    yield from StepJudge(start.context, start.problem, settings, later.before, rows, at).findings(1)
    recorded = Basis(DEFINITION, "rounding (theory.md 4)")
    inside = []
    for place, seed in enumerate(later.alive):
        problem = start.problem.at([array[place] for array in later.before])
        if rows is not None:
            seen = rows[0, place]
            problem = replace(problem, x=problem.x[seen], y=problem.y[seen])
        try:
            problem.demand_range(start.context.backend.dtype)
        except UndecidableError:  # the step, which has been judged, says so
            continue
        inside.append(place)
        yield recorded.approx(
            f"loss that the run recorded ({at})",
            outcome.course.losses[later.step, seed],
            layered_loss(problem.layered, problem.x, problem.y),
            loss_off(problem, start.context.backend.dtype),
            f"seed {seed + 1}",
        )
    if inside and isinstance(settings.optimiser, Sgd):
        yield from _same_step(start, settings, later, rows, at, inside)


def _same_step(
    start: Start,
    settings: TrainingSettings,
    later: Later,
    rows: Int[np.ndarray, "1 alive N"] | None,
    at: str,
    inside: list[int],
) -> Iterator[Check]:
    """Check that the run took the step that a fresh trainer takes, of replicas inside the range."""
    backend = start.context.backend
    model = backend.build(start.problem.network, later.before)
    fresh = backend.trainer(model, *start.staged, settings)
    fresh.run(1, rows)
    u = unit_roundoff(start.context.backend.dtype)
    reached = fresh.parameters()
    names = array_names([array[0] for array in reached])
    rule = Basis(
        "one rule takes the same step, whatever was before",
        "rounding of the parameters by either trainer (theory.md 4.5)",
    )
    for name, ran, due in zip(names, later.after, reached, strict=True):
        for place in inside:
            off = 2 * CONFIDENCE * u * np.linalg.norm(due[place]) + SMALLEST
            where = f"seed {later.alive[place] + 1}, {name}"
            yield rule.distance(
                f"parameters after a step of the run ({at})", ran[place], due[place], off, where
            )
