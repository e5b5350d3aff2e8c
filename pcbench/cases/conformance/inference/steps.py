"""The steps that engines should take by their settings, and what they record of them.

In gradient inference all layers move at once, from where a forward pass ends. Sweeps from layer to
layer, each of which sees those that have moved, reach the same equilibrium, as a start from zeros
does where there is but one. Only the way there tells.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.checks import Check
from pcbench.contract import GradientInference, InferenceSettings, OdeInference
from pcbench.judges.answers import NEVER, InferenceResult, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.reported import CONTRACT, counted, counts_match
from pcbench.theory.nonlinear import inference_steps
from pcbench.theory.nonlinear.inference_steps import InferenceSteps, Rule, StepsRounding
from pcbench.theory.nonlinear.layered import activity_residuals, layered_energies
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.underflow import SMALLEST

STEPS = 3
"""Sweeps show in the second step, where there are two hidden layers."""

RULE = (
    "z ← z - step · ∂(N𝓕)/∂z of all layers at once, from the feedforward activities "
    "(contract/model.py)"
)


# Evaluations of the flow that no step of a method can do without, where the first is the last one
# of the step before: Dormand & Prince 1980, Bogacki & Shampine 1989; of Heun's, one.
_STAGES = {"dopri5": 6, "bosh3": 3, "adaptive_heun": 1}


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

    No curvature on the way is to be too large for the step: what rounding has moved activities by
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


def record(
    judge: InferenceJudge, label: str, result: InferenceResult, settings: InferenceSettings
) -> Iterator[Check]:
    """Hold the first and the last row of a record against the theory, layer by layer."""
    path, rows, depth = result.path, result.steps + 1, judge.network.depth
    seen = 0 if path is None else len(path)
    yield counts_match(f"{label}: rows of the record", seen, rows, "rows")
    if path is not None and path.shape == (rows, depth):
        precision, u = judge.problem.precision, judge.u
        begun = layered_rounding(judge.network, judge.forward, u, precision).energies
        off = np.add(begun, [0.0] * (depth - 1) + [judge.forward_rounding.loss])
        start = layered_energies(judge.network, judge.forward, precision)
        basis = Basis(CONTRACT, f"rounding at u = {u:.2g} of each energy (theory.md 4)")
        name = f"{label}: record, layer by layer"
        yield basis.each_close(name, path[0], start, off).at("the start")
        off = np.array(judge.rounding(result).energies)
        yield basis.each_close(name, path[-1], judge.energies(result), off).at("the end")
    yield from passes(label, result, settings)


def passes(label: str, result: InferenceResult, settings: InferenceSettings) -> Iterator[Check]:
    """Check that a step has cost what it takes, at least: to go there, and to look for its slope.

    That is a pass forward and one back, as it is at the start; a Runge-Kutta step takes several.
    """
    if result.passes is None or not result.steps:
        return
    stages = _STAGES[settings.method] if isinstance(settings, OdeInference) else 1
    yield checks.at_least(
        f"{label}: passes",
        result.passes,
        2.0 * (1 + stages * result.steps),
        counted("passes"),
        source="a step takes a pass forward and one back (contract/model.py)",
    )


def rows_close(
    label: str,
    path: Float[np.ndarray, "rows L"] | None,
    due: InferenceSteps,
    rounding: StepsRounding,
) -> Iterator[Check]:
    """Check every row of the record; one that has ended stays where it is."""
    name = f"{label}: record of every step"
    basis = Basis(CONTRACT, "what rounding makes of the same steps (theory.md 4.3)")
    kept = np.zeros((0, 0)) if path is None else path
    rows = np.minimum(np.arange(max(len(kept), len(due.energies))), len(due.energies) - 1)
    off, expected = rounding.energies[rows] + SMALLEST, due.energies[rows]
    if kept.shape != expected.shape:
        yield basis.distance(name, kept, expected, off.max(), "rows and layers of the record")
        return
    places = (f"row {row + 1}" for row in range(len(rows)))
    yield from basis.distances(name, kept, expected, off, places)
