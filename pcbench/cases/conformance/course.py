"""Whether training goes on as it begins: every step of a long run, by every optimiser and engine.

What is wrong after ten steps, fifty, or an epoch shows in no first step: a correction that is
frozen, moments that are reset, a rate that decays, batches that come again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pcbench.case import Context
from pcbench.cases.conformance.inference.engines import ask_for
from pcbench.cases.conformance.subject import offered
from pcbench.cases.conformance.training import LentContext, OneReplica
from pcbench.checks import Check
from pcbench.contract import Adam, IterativeInference, Sgd, TrainingSettings
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.training.step_judge import StepJudge

STEPS = 120
"""Twelve times what Adam's mean remembers, and many epochs of a small batch."""

_RATE, _SCALE = 0.01, 0.5
# Steps are judged wherever inference ends: as few as make it iterate.
_BUDGET = 2


def course(context: Context, problem: Problem, rng: np.random.Generator) -> Iterator[Check]:
    """Judge every step of long runs, and the same steps in runs of many."""
    samples = len(problem.x)
    batches = rng.integers(0, samples, (STEPS, max(1, samples // 2)))
    lent = LentContext(context, OneReplica(context.backend))
    parameters = [parameter[None] for parameter in problem.parameters]
    for learner, settings in _learners(context, problem):
        judge = StepJudge(lent, problem, settings, parameters, batches, learner)
        yield from judge.findings(STEPS)


def _learners(context: Context, problem: Problem) -> Iterator[tuple[str, TrainingSettings]]:
    """Return backpropagation and every engine, by every optimiser.

    In float32 backpropagation alone: what goes on from step to step is the optimiser's, and engines
    have no other program there.
    """
    judge = InferenceJudge(problem, context.backend.dtype)
    for optimiser in (Sgd(), Adam()):
        rule = optimiser.optimiser
        yield f"BP, {rule}", TrainingSettings("loss", optimiser, _RATE, _SCALE)
        known = offered(context.backend, problem) if context.backend.dtype == "float64" else []
        for engine in known:
            inference = ask_for(engine, problem, judge).settings
            if isinstance(inference, IterativeInference):
                update: dict[str, Any] = {"max_steps": _BUDGET, "record": False}
                inference = inference.model_copy(update=update)
            yield (
                f"PC by {engine}, {rule}",
                TrainingSettings("energy", optimiser, _RATE, _SCALE, inference),
            )
