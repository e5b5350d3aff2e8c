"""Whether a sample ends where it ends alone, and its outputs count as the energy has them.

The energy is a mean over samples, and no sample is in another's term: where one has its equilibrium
depends on nothing else in the batch. A library whose hidden terms are sums and whose output term is
a mean, over the batch, the outputs or both, has other equilibria, which move with the batch's size.
At an equilibrium the last hidden layer tells by how much its output term counts:
``e_{L-1} = s J_Lᵀ (π e)_L`` with ``s = 1``.

Where a network is not linear there may be several equilibria, and rounding may decide between them.
There a sample is asked for where it is after a few steps: those of each are its own as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import numpy as np

from pcbench.cases.conformance.inference.steps import decided, expected_steps, rounding_of
from pcbench.cases.conformance.subject import JudgedSubject
from pcbench.checks import Check
from pcbench.contract import (
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    IterativeInference,
    OdeInference,
)
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import NEVER, InferenceResult
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.reported import DEFINITION
from pcbench.theory.nonlinear.curvature import least_curvatures
from pcbench.theory.nonlinear.inference_steps import Rule, clearance, kink_margin
from pcbench.theory.nonlinear.layered import activity_residuals, feedforward, layered_errors
from pcbench.theory.rounding.bounds import CONFIDENCE
from pcbench.theory.rounding.underflow import SMALLEST

DECOUPLED = "𝓕 is a mean over samples, each with an energy of its own (theory.md 1)"
ALONE = "a sample alone and among others"
# How near a share has to be to what a known mistake makes of it, to be called that.
_NEAR = 0.01
# Few enough for rounding not to grow far, and more than one: what a step leads to, such as a
# damping that samples share, shows in the next.
_FEW = 2
# What a step of a flow may be off by, over the size of what flows.
_OF_FLOW = {"float64": 1e-8, "float32": 1e-5}


def output_share(
    judge: InferenceJudge, label: str, result: InferenceResult, settings: InferenceSettings
) -> Iterator[Check]:
    """Check ``s = 1``, where there are several samples and outputs to take a mean over.

    With ``ρ_{L-1} = e_{L-1} - J_Lᵀ (π e)_L``, a force of ``‖ρ‖`` that is left leaves
    ``|s - 1| ≤ ‖ρ‖/‖J_Lᵀ (π e)_L‖``.
    """
    samples, outputs = judge.problem.y.shape
    if samples == 1 or outputs == 1 or judge.network.depth == 1:
        return
    activities = judge.clamped(result)
    last = activity_residuals(judge.network, activities, judge.problem.precision)[-1]
    pull = layered_errors(judge.network, activities)[-2] - last
    size = float(np.linalg.norm(pull))
    if not size > 0:
        return
    share = 1 + float(np.sum((last / size) * (pull / size)))
    off = _force_left(judge, result, settings) / size + float(np.finfo(float).eps)
    check = Basis(
        DEFINITION,
        "the residual asked for, and rounding, over the force of the output (theory.md 4)",
    ).approx(f"{label}: share of the output's error", share, 1.0, off)
    yield check if check.passed else check.at(_guess(share, samples, outputs))


def alone(
    subject: JudgedSubject, label: str, result: InferenceResult, settings: InferenceSettings
) -> Check:
    """Compare where a sample ends among the others with where it ends alone.

    In a linear network, whose equilibrium is one: forces of ``‖ρ‖`` that are left leave it at
    most ``‖ρ‖/λ_min`` away.
    """
    single, n = _single(subject)
    own, name = single.infer(settings), f"{label}: {ALONE}"
    formed = single.judge.form(name, own)
    if not formed.passed:
        return formed
    ends = (subject.judge, result), (single.judge, own)
    left = sum(_force_left(judge, end, settings) for judge, end in ends)
    least = float(single.judge.least_curvatures(own).min())
    off = left / least if least > 0 else inf  # where float64 hides that it is positive
    derivation = "the residuals asked for, and rounding, over λ_min(H_z) (theory.md 2.3, 4)"
    return Basis(DECOUPLED, derivation).distance(name, result.hidden[n], own.hidden[0], off)


def alone_for_a_few_steps(
    subject: JudgedSubject, label: str, settings: InferenceSettings, curvature: float
) -> Iterator[Check]:
    """Compare where a sample is after a few steps, or a short time, among others and alone.

    Nothing is asked where rounding could decide which way a step leads: at kinks, or where a step
    of Gauss-Newton may be refused because it lowers the energy by little. The curvature bounds that
    of every sample's energy, where it is no larger than where inference begins.
    """
    (single, n), name = _single(subject), f"{label}: {ALONE}"
    match settings:
        case GradientInference() | ErrorInference():
            found = _of_steps(single.judge, settings)
        case GaussNewtonInference():
            found = _of_newton(single, settings, curvature)
        case OdeInference() if is_smooth(single.problem.network):
            found = _of_flow(single.judge, subject.judge, curvature)
        case _:  # the forces of a flow jump at kinks, and draw apart what is together
            return
    if found is None:
        return
    few, off, derivation = found
    ends = []
    for who in (single, subject):
        ends.append(who.infer(few))
        formed = who.judge.form(name, ends[-1])
        if not formed.passed:
            yield formed
            return
    if isinstance(few, OdeInference):
        off *= sum(end.steps + 1 for end in ends)
    yield Basis(DECOUPLED, derivation, "after a few steps").distance(
        name, ends[1].hidden[n], ends[0].hidden[0], off + SMALLEST
    )


_Few = tuple[InferenceSettings, float, str]


def _of_steps(judge: InferenceJudge, settings: GradientInference | ErrorInference) -> _Few | None:
    """Ask for steps of the same length; what rounding makes of them, it does twice."""
    in_errors = isinstance(settings, ErrorInference)
    rule = decided(judge, Rule(settings.step, _FEW, NEVER, in_errors=in_errors))
    if rule.budget < 1:
        return None
    off = 2 * rounding_of(judge, rule, expected_steps(judge, rule)).hidden
    few = settings.model_copy(update={"residual": NEVER, "max_steps": rule.budget})
    return few, off, "what rounding makes of the same steps, twice (theory.md 4.3)"


def _of_newton(own: JudgedSubject, settings: GaussNewtonInference, curvature: float) -> _Few | None:
    """Ask for as many steps of one linearisation as surely are taken."""
    judge, steps = own.judge, 0
    reached, energy = judge.forward, judge.loss
    few = settings.model_copy(update={"residual": NEVER, "reuse": _FEW, "record": False})
    while steps < _FEW and clearance(judge.network, reached) > kink_margin(judge.u):
        end = own.infer(few.model_copy(update={"max_steps": steps + 1}))
        if not judge.form("gauss_newton", end).passed:
            steps = 1  # asked for it again, it is judged
            break
        before, energy = energy, judge.energy(end)
        if not before - energy > np.sqrt(judge.u) * before:
            break
        reached, steps = judge.clamped(end), steps + 1
    if not steps:
        return None
    off = 2 * newton_rounding(judge, curvature, steps)
    few = few.model_copy(update={"max_steps": steps})
    return few, off, "what solving systems of this condition rounds, twice (theory.md 3.3)"


def newton_rounding(judge: InferenceJudge, curvature: float, steps: int) -> float:
    """Bound what rounding makes of activities in steps of Gauss-Newton with one linearisation.

    A step solves a system of condition ``κ = Λ/λ`` and so is off by ``κ u`` of the activities;
    what an earlier step was off by, a later one multiplies by ``‖I - H_0⁻¹ H‖ ≤ 1 + κ``. ``H_0`` is
    the curvature without errors, which Gauss-Newton takes for ``H``.
    """
    condition, problem = newton_condition(judge, curvature), judge.problem
    ends = [*feedforward(judge.network, problem.x), np.nan_to_num(problem.y)]
    size = float(np.linalg.norm(np.concatenate([z.ravel() for z in ends])))
    growth = sum((1 + condition) ** step for step in range(steps))
    return CONFIDENCE * judge.u * condition * size * growth


def newton_condition(judge: InferenceJudge, curvature: float) -> float:
    """``Λ/λ``, where ``λ`` is the least curvature that Gauss-Newton sees where inference begins."""
    forward = feedforward(judge.network, judge.problem.x)
    least = least_curvatures(judge.network, forward, judge.problem.precision)
    return max(1.0, curvature / float(least.min()))


def _of_flow(judge: InferenceJudge, whole: InferenceJudge, curvature: float) -> _Few:
    """Ask for a time of ``1/Λ``, in which what is apart grows by no more than ``e``.

    Each step may be off by its tolerance, root mean square over units, and by rounding; the last,
    which reaches beyond the time, is interpolated with as much. A tolerance below the rounding of
    activities would be taken for that. What is returned is to be multiplied by the steps.
    """
    forward = [*whole.forward[1:-1], np.nan_to_num(whole.problem.y)]
    root = float(np.sqrt(sum(z.shape[1] for z in forward[:-1])))
    size = float(np.linalg.norm([np.abs(z).max() * np.sqrt(z.shape[1]) for z in forward]))
    rounding = 2 * judge.u * max(float(np.abs(z).max()) for z in forward)
    atol = max(rounding, _OF_FLOW[judge.dtype] * judge.start / curvature / root)
    few = OdeInference(residual=NEVER, max_time=1 / curvature, atol=atol)
    off = np.e * (atol * root + CONFIDENCE * judge.u * size)
    return few, float(off), "what every step may be off by, and its rounding"


def _single(subject: JudgedSubject) -> tuple[JudgedSubject, int]:
    """Return the last sample that has an observed output, alone, and which it is."""
    observed = np.isfinite(subject.problem.y).any(axis=1)
    n = int(np.flatnonzero(observed)[-1]) if observed.any() else 0
    return subject.at(subject.problem.rows(slice(n, n + 1))), n


def _force_left(
    judge: InferenceJudge, result: InferenceResult, settings: InferenceSettings
) -> float:
    """Bound ``‖∂(N𝓕)/∂z‖`` where inference arrived at what was asked for."""
    rounding = judge.rounding(result).residual
    if not isinstance(settings, IterativeInference):
        return rounding + judge.exact_rounding.residual
    return rounding + settings.residual * (judge.start + judge.forward_rounding.residual)


def _guess(share: float, samples: int, outputs: int) -> str:
    """Say which mean a share looks like."""
    both = f"{samples}·{outputs}"
    known = [
        (samples * outputs, both, "a mean over batch and outputs"),
        (samples * outputs / 2, f"{both}/2", "a mean of squares over batch and outputs, without ½"),
        (samples, f"{samples}", "a mean over the batch"),
        (outputs, f"{outputs}", "a mean over outputs"),
        (outputs / 2, f"{outputs}/2", "a mean of squares over outputs, without ½"),
        (0.5, "½", "a square without ½"),
    ]
    alike = [
        f"divided by {divisor}: {reason}?"
        for value, divisor, reason in known
        if value != 1 and abs(share * value - 1) < _NEAR
    ]
    return f"the output term counts {share:.3g} times; it is " + " or ".join(
        alike or ["none of the usual means"]
    )
