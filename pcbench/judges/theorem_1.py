"""Theorem 1, of an engine's answer in a linear network."""

from __future__ import annotations

from math import inf

import numpy as np

from pcbench import checks
from pcbench.checks import Check, Tolerance
from pcbench.contract import InferenceSettings, IterativeInference
from pcbench.judges.answers import InferenceResult
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.theory.linear.equilibrium import equilibrated_energy


def theorem_1(
    judge: InferenceJudge,
    problem: Problem,
    label: str,
    result: InferenceResult,
    settings: InferenceSettings,
) -> Check:
    """Compare the energy with the closed form that a linear network has, unobserved outputs too.

    The residual that was asked for leaves at most ``‖ρ‖²/2c`` above it. What the closed form loses
    itself, in float64, may be more than evaluation at given activities: it solves with ``S``.
    """
    expected = equilibrated_energy(problem.weights, problem.x, problem.y, problem.precision)
    rounding = judge.rounding(result)
    # Forces are as many times errors as precisions are.
    most = 1.0 if problem.precision is None else max(1.0, float(np.max(problem.precision)))
    asked = settings.residual if isinstance(settings, IterativeInference) else 0.0
    force = asked * judge.start + rounding.residual
    least = float(judge.least_curvatures(result).min())
    # Positive in any linear network; where rounding in float64 hides that, nothing is known.
    left = force**2 / (2 * least * judge.samples) if least > 0 else inf
    return checks.within(
        f"{label}: energy at equilibrium",
        result.energy,
        (expected, expected + left),
        Tolerance(
            sum(rounding.energies) + most * judge.exact_rounding.energy if least > 0 else inf,
            "rounding at these activities, and of the closed form (theory.md 4)",
        ),
        source="Theorem 1, of observed outputs alone (theory.md 2.1)",
    )
