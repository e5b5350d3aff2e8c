"""Whether gradient inference takes the steps that the contract says.

All layers move at once, from where a forward pass ends. Sweeps from layer to layer, each of which
sees those that have moved, reach the same equilibrium, as a start from zeros does where there is
but one. Only the way there tells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pcbench import checks
from pcbench.cases.conformance.subject import Array, Subject
from pcbench.checks import Check, Tolerance
from pcbench.contract import GradientInference
from pcbench.judges.answers import NEVER
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.theory.nonlinear.layered import activity_residuals, feedforward
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.layered import layered_rounding

STEPS = 3
"""Sweeps show in the second step, where there are two hidden layers."""

RULE = "z ← z - step · ∂(N𝓕)/∂z of all layers at once, from the feedforward activities (base.py)"


def steps_taken(subject: Subject, problem: Problem, judge: InferenceJudge, step: float) -> Check:
    """Compare the activities after a few steps with the theory's own.

    Parameters
    ----------
    subject, problem, judge
        Who is asked, and about what.
    step
        One that no curvature on the way is too large for: what rounding has moved activities by
        grows by no more than a factor of two then, ``‖I - step H‖ ≤ 2``.
    """
    network, precision = problem.layered, problem.precision
    u = unit_roundoff(subject.backend.dtype)
    settings = GradientInference(step=step, residual=NEVER, max_steps=STEPS)
    seen = subject.infer(settings).activities[1:-1]
    activities = [*feedforward(network, problem.x)[:-1], problem.y]
    off = judge.forward_rounding.activities
    for _ in range(STEPS):
        slopes = activity_residuals(network, activities, precision)
        rounding = layered_rounding(network, activities, u, precision)
        hidden = [z - step * slope for z, slope in zip(activities[1:-1], slopes, strict=True)]
        off = 2 * off + step * rounding.residual + 2 * u * float(np.linalg.norm(_flat(hidden)))
        activities = [problem.x, *hidden, problem.y]
    return checks.distance(
        f"gradient: activities after {STEPS} steps",
        _flat(seen),
        _flat(activities[1:-1]),
        Tolerance(off, f"rounding at u = {u:.2g} of every step (theory.md 4)"),
        source=RULE,
    )


def _flat(activities: Sequence[Array]) -> Array:
    return np.concatenate([z.ravel() for z in activities])
