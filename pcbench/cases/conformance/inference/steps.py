"""The steps that engines take by their settings, the time of a flow, and what they record.

In gradient inference all layers move at once, from where a forward pass ends. Sweeps from layer to
layer, each of which sees those that have moved, reach the same equilibrium, as a start from zeros
does where there is but one. Only the way there tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench import checks
from pcbench.cases.conformance.subject import JudgedSubject
from pcbench.checks import Check
from pcbench.contract import (
    BackendUnavailableError,
    GradientInference,
    InferenceSettings,
    OdeInference,
)
from pcbench.judges.answers import NEVER, Array, InferenceResult
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.reported import CONTRACT, counts_match
from pcbench.theory.nonlinear import inference_steps
from pcbench.theory.nonlinear.curvature import largest_curvatures
from pcbench.theory.nonlinear.inference_steps import (
    InferenceSteps,
    Rule,
    StepsRounding,
    flowed,
    room_to_kinks,
)
from pcbench.theory.nonlinear.layered import Layered, activity_residuals, layered_energies
from pcbench.theory.rounding.bounds import CONFIDENCE
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.underflow import SMALLEST

STEPS = 3
"""Sweeps show in the second step, where there are two hidden layers."""

ALL_AT_ONCE = (
    "z ← z - step · ∂(N𝓕)/∂z of all layers at once, from the feedforward activities "
    "(contract/model.py)"
)
RULE = "from the feedforward activities, by the rule of the settings (contract/inference.py)"


# Evaluations of the flow that no step of a method can do without, where the first is the last one
# of the step before: Dormand & Prince 1980, Bogacki & Shampine 1989; of Heun's, one.
_STAGES = {"dopri5": 6, "bosh3": 3, "adaptive_heun": 1}
FLOW = "dz/dt = -∂(N𝓕)/∂z from the feedforward activities (contract/inference.py)"
ORDER = "a step of order p is as long as the (p + 1)-th root of its tolerance (Hairer et al. II.4)"
# Time, in units of the inverse of the largest curvature: no method's stability is at stake.
_TIME = 3.0
# What a step may be off by, of the size of what flows: as little as a dtype can, and a lot.
_TIGHT = {"float64": 1e-8, "float32": 1e-5}
_LOOSE = 1e-2
_MANY_STEPS = 1_000
# Of what a step may be off by, and of its rounding, what an accepted step of dopri5 leaves behind:
# see force_kept; tests/cases/conformance/test_flow.py finds them from the method's coefficients.
CAUGHT, KEPT = 2.87, 2.55
# Which way takes fewer steps than which.
_IN_ORDER = (
    ("steps by tolerance", "loose", "tight"),
    ("steps by relative tolerance", "relative", "tight"),
    ("steps by method", "dopri5", "bosh3"),
    ("steps by method", "bosh3", "adaptive_heun"),
)
# Steps are added up, and a last one that reaches beyond the time is interpolated, with as much.
_INTERPOLATED = 2.0


def _given(judge: InferenceJudge) -> tuple[Layered, Array, Array]:
    return judge.network, judge.problem.x, judge.problem.y


def decided(judge: InferenceJudge, rule: Rule) -> Rule:
    """Return the rule with no more steps than rounding leaves without a doubt."""
    precision = judge.problem.precision
    return inference_steps.decided(*_given(judge), rule, judge.u, precision)


def expected_steps(judge: InferenceJudge, rule: Rule) -> InferenceSteps:
    """Return the theory's own steps."""
    return inference_steps.inference_steps(*_given(judge), rule, judge.problem.precision)


def rounding_of(judge: InferenceJudge, rule: Rule, steps: InferenceSteps) -> StepsRounding:
    """Bound what rounding makes of the same steps."""
    precision = judge.problem.precision
    return inference_steps.steps_rounding(*_given(judge), rule, steps, judge.u, precision)


def steps_taken(subject: JudgedSubject, step: float) -> Check:
    """Compare the activities after a few steps with the theory's own.

    No curvature on the way is to be too large for the step: what rounding has moved activities by
    grows by no more than a factor of two then, ``‖I - step H‖ ≤ 2``.
    """
    judge = subject.judge
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
    basis = Basis(ALL_AT_ONCE, f"rounding at u = {u:.2g} of every step (theory.md 4)")
    name, due = f"gradient: activities after {STEPS} steps", activities[1:-1]
    return basis.distance(name, result.hidden, np.concatenate(due, axis=1), off)


def record(
    judge: InferenceJudge, label: str, result: InferenceResult, settings: InferenceSettings
) -> Iterator[Check]:
    """Hold the first and the last row of a record against the theory, layer by layer.

    The passes that were counted are held against the fewest that the steps can have cost.
    """
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
    if result.passes is None or not result.steps:
        return
    # A step goes there and looks for its slope: a pass forward and one back, as at the start.
    stages = _STAGES[settings.method] if isinstance(settings, OdeInference) else 1
    due, source = 2.0 * (1 + stages * result.steps), "a step takes a pass forward and one back"
    yield counts_match(
        f"{label}: passes",
        result.passes,
        due,
        "passes",
        f"{source} (contract/model.py)",
        by=checks.at_least,
    )


def as_stepped(
    label: str, result: InferenceResult, due: InferenceSteps, rounding: StepsRounding
) -> Iterator[Check]:
    """Compare where inference ended, and the way there, with the theory's own steps."""
    basis = Basis(RULE, "what rounding makes of the same steps (theory.md 4.3)", label=label)
    yield basis.distance("activities", result.hidden, due.hidden, rounding.hidden)
    yield basis.approx("residual", result.residual, due.residuals[-1], rounding.residuals[-1])
    basis, name = replace(basis, source=CONTRACT), "record of every step"
    kept = np.zeros((0, 0)) if result.path is None else result.path
    # One that has ended stays where it is.
    rows = np.minimum(np.arange(max(len(kept), len(due.energies))), len(due.energies) - 1)
    off, expected = rounding.energies[rows] + SMALLEST, due.energies[rows]
    if kept.shape != expected.shape:
        yield basis.distance(name, kept, expected, off.max(), "rows and layers of the record")
        return
    places = (f"row {row + 1}" for row in range(len(rows)))
    yield from basis.distances(name, kept, expected, off, places)


def force_kept(judge: InferenceJudge, most: float) -> float:
    """Bound ``‖∂(N𝓕)/∂z‖`` that a flow by dopri5 cannot get below, in a linear network.

    A step ``h`` takes what a component of curvature ``λ`` is off by, ``δ``, to ``R(z) δ``, ``z = h
    λ``, and estimates that it is off by ``E(z) δ``. It is accepted if that is no more than the
    tolerance ``τ``, root mean square. Where ``z ≥ 3``, an accepted step leaves at most ``τ
    max(1, |R|)/|E| ≤ 2.87 τ``, whether ``|R| > 1`` or not. Where ``½ ≤ z < 3``, ``|R| ≤ 0.607`` and
    of rounding ``η`` in every step ``η/(1 - 0.607) ≤ 2.55 η`` is kept at most; where ``z < ½``,
    ``1 - R ≥ 0.786 z``, the force ``λ δ`` is no more than ``η/(0.786 h)``, and that again no more
    than ``2.55 η λ_max`` for steps of ``h λ_max ≥ ½``. The least tolerance that an engine can keep
    to is the rounding of activities, ``2 u max|z|``, and ``η`` is half of that.
    """
    forward = judge.forward[1:]
    rounding = 2 * judge.u * max(float(np.nanmax(np.abs(z), initial=0.0)) for z in forward)
    units = sum(z.size for z in forward[:-1])
    return (CAUGHT + KEPT / 2) * rounding * most * float(np.sqrt(units))


def flow(subject: JudgedSubject, curvature: float) -> Iterator[Check]:
    """Ask the engine ``ode`` for two times, two tolerances of either sort, and every method.

    The flow of a linear network draws together whatever is apart: what its steps are off by adds up
    at most. Steps of a method of order ``p`` are as long as the ``(p + 1)``-th root of what they
    may be off by, so that a lower order and a smaller tolerance take more of them.

    In other networks only times are asked for, of ``1/Λ`` or less, in which what is apart grows by
    no more than ``e``; ``curvature`` bounds that of every sample's energy, where it is no larger
    than where inference begins. A flow that meets no kink on the way is that of a linear network:
    its force only falls, and so it goes no further than that of the start carries it.
    """
    problem, judge, forward = subject.problem, subject.judge, subject.judge.forward
    if problem.network.convolutions:
        return
    most = float(largest_curvatures(judge.network, forward, problem.precision).max())
    units = sum(activities.size for activities in forward[1:-1])
    time = _TIME / most
    if not problem.network.is_linear:
        # No sample's flow comes more than half of the way to a kink.
        pulled = max(float(judge.starts.max()), float(np.finfo(float).tiny))
        time = min(1 / max(most, curvature), room_to_kinks(judge.network, forward) / (2 * pulled))
    if not time > 0:
        return
    # How far activities move in the time of the steepest curvature, root mean square.
    size = judge.start / most / float(np.sqrt(units))
    tight, medium, loose = _TIGHT[subject.dtype] * size, 1e-3 * size, _LOOSE * size
    asked: dict[str, dict[str, Any]] = {
        "tight": {"atol": tight},
        "half the time": {"atol": tight, "max_time": time / 2},
    }
    if problem.network.is_linear:
        asked |= {
            "loose": {"atol": loose},
            "relative": {"atol": tight, "rtol": _LOOSE},
            "dopri5": {"atol": medium},
            "bosh3": {"atol": medium, "method": "bosh3"},
            "adaptive_heun": {"atol": medium, "method": "adaptive_heun"},
        }
    shared = {"residual": NEVER, "record": True, "max_steps": _MANY_STEPS, "max_time": time}
    steps: dict[str, int] = {}
    for what, own in asked.items():
        settings = OdeInference(**(shared | own))
        try:
            result = subject.infer(settings)
        except BackendUnavailableError:  # a library may lack a method
            continue
        form = judge.form("ode", result)
        yield form
        if not form.passed:
            return
        steps[what] = result.steps
        yield from record(judge, "ode", result, settings)
        if settings.atol == tight and not settings.rtol:
            yield _arrived(judge, result, settings, most).at(what)
    for name, fewer, more in _IN_ORDER:  # where both could be had
        if fewer in steps and more in steps:
            where = f"{fewer} against {more}"
            yield counts_match(
                f"ode: {name}", steps[fewer], steps[more], "steps", ORDER, where, checks.below
            )


def _arrived(
    judge: InferenceJudge, result: InferenceResult, settings: OdeInference, most: float
) -> Check:
    """Compare activities at the time given with those of the flow itself.

    Each step may be off by its tolerance, root mean square over units. Rounding is that of every
    step, of activities of this size, and of slopes, which targets and inputs enter, too.
    """
    problem = judge.problem
    due = flowed(judge.network, problem.x, problem.y, settings.max_time, problem.precision)
    assert settings.atol is not None  # for the type checker
    off = (result.steps + _INTERPOLATED) * settings.atol * float(np.sqrt(due.size))
    lengths = settings.max_time * most + result.steps
    slopes = max(judge.forward_rounding.residual, judge.rounding(result).residual)
    rounding = CONFIDENCE * judge.u * lengths * float(np.linalg.norm(due))
    rounding += settings.max_time * slopes
    growth = 1.0 if problem.network.is_linear else float(np.e)
    return Basis(FLOW, "what every step may be off by, and its rounding").distance(
        "ode: activities at the time given", result.hidden, due, growth * (off + rounding)
    )
