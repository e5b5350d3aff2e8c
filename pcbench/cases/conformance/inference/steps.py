"""The steps that engines should take by their settings, and whether gradient inference does.

All layers move at once, from where a forward pass ends. Sweeps from layer to layer, each of which
sees those that have moved, reach the same equilibrium, as a start from zeros does where there is
but one. Only the way there tells.
"""

from __future__ import annotations

import numpy as np

from pcbench.checks import Check
from pcbench.contract import GradientInference
from pcbench.judges.answers import NEVER, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.theory.nonlinear import inference_steps
from pcbench.theory.nonlinear.inference_steps import InferenceSteps, Rule, StepsRounding
from pcbench.theory.nonlinear.layered import activity_residuals
from pcbench.theory.rounding.layered import layered_rounding

STEPS = 3
"""Sweeps show in the second step, where there are two hidden layers."""

RULE = (
    "z ← z - step · ∂(N𝓕)/∂z of all layers at once, from the feedforward activities "
    "(contract/model.py)"
)


def decided(judge: InferenceJudge, rule: Rule) -> Rule:
    """Return the rule with no more steps than rounding leaves without a doubt."""
    problem = judge.problem
    return inference_steps.decided(
        judge.network, problem.x, problem.y, rule, judge.u, problem.precision
    )


def expected_steps(judge: InferenceJudge, rule: Rule) -> InferenceSteps:
    """Return the theory's own steps."""
    problem = judge.problem
    return inference_steps.inference_steps(
        judge.network, problem.x, problem.y, rule, problem.precision
    )


def rounding_of(judge: InferenceJudge, rule: Rule, steps: InferenceSteps) -> StepsRounding:
    """Bound what rounding makes of the same steps."""
    problem = judge.problem
    return inference_steps.steps_rounding(
        judge.network, problem.x, problem.y, rule, steps, judge.u, problem.precision
    )


def steps_taken(subject: Subject, judge: InferenceJudge, step: float) -> Check:
    """Compare the activities after a few steps with the theory's own.

    Parameters
    ----------
    subject, judge
        The backend with its problem, and the judge of that problem.
    step
        One that no curvature on the way is too large for: what rounding has moved activities by
        grows by no more than a factor of two then, ``‖I - step H‖ ≤ 2``.
    """
    activities, precision, u = judge.forward, judge.problem.precision, judge.u
    result = subject.infer(GradientInference(step=step, residual=NEVER, max_steps=STEPS))
    off = judge.forward_rounding.activities
    for _ in range(STEPS):
        slopes = activity_residuals(judge.network, activities, precision)
        rounding = layered_rounding(judge.network, activities, u, precision)
        hidden = [z - step * slope for z, slope in zip(activities[1:-1], slopes, strict=True)]
        size = float(np.linalg.norm(np.concatenate(hidden, axis=1)))
        off = 2 * off + step * rounding.residual + 2 * u * size
        activities = [activities[0], *hidden, activities[-1]]
    return Basis(RULE, f"rounding at u = {u:.2g} of every step (theory.md 4)").distance(
        f"gradient: activities after {STEPS} steps",
        result.hidden,
        np.concatenate(activities[1:-1], axis=1),
        off,
    )
