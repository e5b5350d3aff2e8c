"""Whether engines reach the equilibrium: with settings that the theory says must get them there.

In a linear network the spectrum of the activity landscape foretells how far a number of steps
leads (theory.md 2.3): that residual is asked for, with that budget. In others the step is one that
is known to go down, and an engine that runs out of steps has to say so; where activations are
smooth, each has to come down by what a step of gradient descent is sure of, or its own first step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, inf, log
from typing import Any

import numpy as np

from pcbench import checks
from pcbench.case import CaseSkippedError
from pcbench.cases.conformance.inference.batch import alone, alone_for_a_few_steps, output_share
from pcbench.cases.conformance.inference.steps import expected_steps, force_kept, steps_taken
from pcbench.cases.conformance.subject import JudgedSubject
from pcbench.checks import Check
from pcbench.contract import (
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    IterativeInference,
    OdeInference,
    engine_settings,
)
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import InferenceResult
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.reported import STARTS_AT_THE_LOSS
from pcbench.networks import activation
from pcbench.theory.linear.equilibrium import equilibrated_energy
from pcbench.theory.nonlinear.curvature import (
    error_curvatures,
    largest_curvatures,
    least_curvatures,
)
from pcbench.theory.nonlinear.inference_steps import Rule
from pcbench.theory.nonlinear.layered import feedforward
from pcbench.theory.rounding.range import demand_definite
from pcbench.theory.rounding.undecidable import UndecidableError

DESCENT = "a step of 1/Λ goes down by ‖ρ‖²/2Λ, where no curvature exceeds Λ (descent lemma)"
DEMAND = "no theorem: Gauss-Newton has to come down by what one step of gradient descent does"
EDGE = "what float64 can tell of this network, and the dtype can hold (theory.md 4)"
STEPS = 500
"""How many steps are foretold, and how many an engine may take where none are."""

_LEAST_RESIDUAL, _LEAST_OF_NEWTON = 1e-6, 1e-8
_NEWTON_STEPS, _FLOW_TIME = 200, 10.0
# A flow's steps are off by what it tolerates, and the time foretold is that of the flow itself.
_MORE_TIME = 1.2
# Of the rounding of a residual: that of the activities, and of a solver's steps, are of its size.
_ROOM = 4.0
# The most that is worth asking for.
_MOST_RESIDUAL = 0.5
# Steps in errors are known to go down where they begin, and are kept shorter than that.
_CAUTION = 0.25


@dataclass(frozen=True, slots=True)
class Asked:
    """What an engine is asked for: whether it must get there, and come down in its first step."""

    settings: InferenceSettings
    must_converge: bool
    decrease: float = 0.0
    """By how much the first step lowers the energy, at least; 0 where that is not known."""
    source: str = DESCENT
    """Why it does."""


def inference(subject: JudgedSubject, engine: str | None = None) -> Iterator[Check]:
    """Ask one engine, or every one on offer, for the equilibrium."""
    judge, network = subject.judge, subject.problem.network
    if not subject.engines:
        raise CaseSkippedError("the backend offers no engine of inference for these networks")
    for name in [engine] if engine else subject.engines:
        try:
            asked = ask_for(name, judge)
        except UndecidableError as error:
            yield checks.undecided(f"{name}: what to ask for", f"{error}.", source=EDGE)
            continue
        result = subject.infer(asked.settings)
        made = list(verdicts(judge, name, result, asked))
        yield from made
        if not made[0].passed:
            continue
        if not any(check.status == "undecided" for check in made):
            yield from _in_a_batch(subject, name, result, asked)
        if name == "gradient" and network.n_hidden and is_smooth(network):
            yield steps_taken(subject, 1 / most_curved(judge))


def _in_a_batch(
    subject: JudgedSubject, label: str, result: InferenceResult, asked: Asked
) -> Iterator[Check]:
    """Judge the answer as that of a batch, where it has arrived or has to."""
    problem, settings = subject.problem, asked.settings
    if asked.must_converge or result.converged:
        yield from output_share(subject.judge, label, result, settings)
    if len(problem.x) == 1 or not problem.network.n_hidden:
        return
    if asked.must_converge:
        yield alone(subject, label, result, settings)
    else:
        yield from alone_for_a_few_steps(subject, label, settings, most_curved(subject.judge))


def verdicts(
    judge: InferenceJudge, label: str, result: InferenceResult, asked: Asked
) -> Iterator[Check]:
    """Judge where an engine ended; the first check is that the answer is well-formed."""
    settings, network = asked.settings, judge.problem.network
    may_rise = 0.0 if is_smooth(network) else _rise_at_kinks(settings, judge)
    made = list(
        judge.checks(label, result, settings, must_converge=asked.must_converge, may_rise=may_rise)
    )
    newton = isinstance(settings, GaussNewtonInference)
    if newton and asked.must_converge:
        made = [_if_visible(check, label, judge, result) for check in made]
    made = [_unless_theory_rises(check, judge, settings, result) for check in made]
    yield from made
    if not made[0].passed:
        return
    if newton:
        yield from judge.never_rises(label, result)
    if network.is_linear and asked.must_converge:
        yield judge.theorem_1(label, result, settings)
    if asked.decrease:
        off = sum(judge.rounding(result).energies) + judge.forward_rounding.loss
        fallen = Basis(asked.source, "rounding of both energies (theory.md 4)").at_most(
            f"{label}: energy after a first step", result.energy, judge.loss - asked.decrease, off
        )
        yield _unless_theory_rises(fallen, judge, settings, result)


def _unless_theory_rises(
    check: Check, judge: InferenceJudge, settings: InferenceSettings, result: InferenceResult
) -> Check:
    """Leave an energy that is too high undecided where the theory's own steps end too high as well.

    In networks that are not linear, steps in the errors are known to go down only where they begin.
    """
    if check.status != "failed" or check.source not in (STARTS_AT_THE_LOSS, DESCENT):
        return check
    if not isinstance(settings, ErrorInference) or not isinstance(check.expected, float):
        return check
    steps = expected_steps(judge, Rule(settings.step, max(result.steps, 1), in_errors=True))
    own = float(steps.energies[-1].sum())
    if own <= check.expected:
        return check
    reason = f"{check.name}: the theory's own steps of {settings.step:.3g} end at {own:.3g}."
    return checks.undecided(check.name, reason, source=check.source)


def _rise_at_kinks(settings: InferenceSettings, judge: InferenceJudge) -> float:
    """Return how far energy may rise where kinks are met.

    No step in the errors is known to go down, nor one of an engine from outside. Steps of a flow
    are off by what moves forces by the residual asked for, and energy by that much along the first,
    and largest, of them.
    """
    match settings:
        case GradientInference() | GaussNewtonInference() | ExactInference():
            return 0.0
        case OdeInference():
            return settings.residual * judge.start**2 / judge.samples
        case _:
            return inf


def _if_visible(check: Check, label: str, judge: InferenceJudge, result: InferenceResult) -> Check:
    """Leave a residual undecided if what is left of the energy is lost in its rounding.

    A step that lowers the energy of a sample by less than twice its rounding may be refused, and so
    all steps may be where ``𝓕 - 𝓕*`` is no larger than that. ``δ`` bounds the rounding of a mean of
    ``N`` energies; that of each of them is at most ``√N`` times as large.
    """
    if check.status != "failed" or check.name != f"{label}: residual within the budget":
        return check
    problem = judge.problem
    least = equilibrated_energy(problem.weights, problem.x, problem.y, problem.precision)
    off = sum(judge.rounding(result).energies) * judge.samples**0.5
    if check.observed is None or judge.energy(result) - least > 2 * off:
        return check
    reason = (
        f"{check.name}: {check.observed:.3g} is left; a further step would lower the energy by "
        "less than its rounding, and may be refused."
    )
    return checks.undecided(check.name, reason, source=check.source)


def ask_for(engine: str, judge: InferenceJudge) -> Asked:
    """Say what an engine is to be asked in this network."""
    linear = judge.problem.network.is_linear
    match engine:
        case "exact":
            if not np.isfinite(judge.exact_rounding.energy):
                raise UndecidableError("S of Theorem 1 is singular to float64")
            return Asked(ExactInference(), must_converge=True)
        case "gauss_newton":
            newton = GaussNewtonInference(
                residual=_LEAST_OF_NEWTON, max_steps=_NEWTON_STEPS, record=True
            )
            return Asked(newton, linear, 0.0 if linear else _sure(judge), DEMAND)
        case "gradient":
            return _gradient(judge)
        case "ode":
            return _flow(judge)
        case "error":
            return _in_errors(judge)
        case _:
            return Asked(from_outside(engine, judge), must_converge=False)


def from_outside(engine: str, judge: InferenceJudge, **settings: Any) -> IterativeInference:
    """Return the settings of an engine of which nothing is known but what it promises."""
    found = engine_settings(engine)
    if not issubclass(found, IterativeInference):
        raise TypeError(f"the engine {engine!r} is no IterativeInference")
    limits: dict[str, Any] = {"residual": _LEAST_RESIDUAL, "max_steps": STEPS}
    return found.cautious(most_curved(judge), **(limits | settings))


def of_all(each: Sequence[Asked]) -> Asked:
    """Ask for what every replica can give: the shortest step, and as many as the slowest needs."""
    first, every = each[0], [dict(one.settings) for one in each]
    shared: dict[str, Any] = {"residual": max(one.get("residual", 0.0) for one in every)}
    foreseeable = all(one.must_converge for one in each)
    if isinstance(first.settings, OdeInference):
        # One step serves all. In its own time each takes no more than _MORE_TIME STEPS of its own.
        times = [one["max_time"] for one in every]
        shared["max_time"] = max(times)
        most = max(times) / min(times) * _MORE_TIME * STEPS
        foreseeable = foreseeable and most <= first.settings.max_steps
    elif "step" in every[0]:
        step = min(one["step"] for one in every)
        steps = ceil(max(one["step"] * one["max_steps"] for one in every) / step)
        foreseeable = foreseeable and steps <= 10 * STEPS
        shared |= {"step": step, "max_steps": min(steps, 10 * STEPS)}
    else:
        return first
    settings = first.settings.model_copy(update=shared)
    return replace(first, settings=settings, must_converge=foreseeable)


def _gradient(judge: InferenceJudge) -> Asked:
    """``‖ρ_n‖ ≤ (1 - 1/κ)ⁿ ‖ρ_0‖`` with a step of ``1/λ_max``.

    In networks that are not linear, go down with a step that no curvature on the way is too large
    for.
    """
    if not judge.problem.network.is_linear:
        step = 1 / most_curved(judge)
        cautious = GradientInference(step=step, residual=_LEAST_RESIDUAL, max_steps=STEPS)
        return Asked(cautious, must_converge=False, decrease=_sure(judge))
    least, most = _curvatures(judge.problem)
    residual = _foretold(judge, STEPS * least / most)
    steps = ceil(log(1 / residual) * most / least) + 1
    settings = GradientInference(step=1 / most, residual=residual, max_steps=steps)
    return Asked(settings, must_converge=True, decrease=_decrease(judge, most))


def most_curved(judge: InferenceJudge) -> float:
    """Bound the curvature of the energy wherever it is no larger than where inference begins.

    Of a sample that has come down to an energy of at most its loss, ``‖e‖² ≤ 2𝓛_n``, and its
    Hessian is at most ``(1 + s a)² + c a max(1, a) ‖e‖``, with slopes up to ``s``, curvatures up to
    ``c``, and ``a`` the largest norm of a layer's map (theory.md 2.3). A precision ``π`` weighs the
    last map by ``√π``; the force that bends it, ``π e``, is at most ``√π`` times the root of
    ``2𝓛_n``.
    """
    problem, norms = judge.problem, [_map_norm(w) for w in judge.problem.weights]
    phi, a = activation(problem.network.activation), max(norms)
    heavy = max(1.0, float(problem.weighting.max()) ** 0.5)
    errors = np.sqrt(2 * judge.samples * judge.loss)
    bend = phi.max_curvature * a * max(1.0, a) * float(errors)
    return float((1 + phi.max_slope * a * heavy) ** 2 + bend * heavy)


def _sure(judge: InferenceJudge) -> float:
    """Return the decrease that a single step of gradient descent, ``1/Λ``, is sure of.

    None is where there are kinks.
    """
    return _decrease(judge, most_curved(judge)) if is_smooth(judge.problem.network) else 0.0


def _flow(judge: InferenceJudge) -> Asked:
    """``‖ρ(t)‖ ≤ e^{-λ_min t} ‖ρ(0)‖``; stable steps are about ``1/λ_max`` long.

    In networks that are not linear the energy falls by ``(‖ρ(0)‖² - ‖ρ(t)‖²)/2Λ``, and in a time of
    ``1/Λ`` by ``(1 - e⁻²) ‖ρ(0)‖²/2Λ``; half of that leaves room for what the solver is off.
    """
    if not judge.problem.network.is_linear:
        settings = OdeInference(residual=1e-2, max_time=_FLOW_TIME, max_steps=STEPS)
        return Asked(settings, must_converge=False, decrease=_sure(judge) / 2)
    least, most = _curvatures(judge.problem)
    lost = force_kept(judge, most) / judge.start
    if lost > _MOST_RESIDUAL:
        raise UndecidableError("forces are lost in the rounding of a flow's activities")
    residual = max(lost, _foretold(judge, STEPS * least / most))
    time = _MORE_TIME * log(1 / residual) / least
    return Asked(OdeInference(residual=residual, max_time=time), must_converge=True)


def _in_errors(judge: InferenceJudge) -> Asked:
    """Descend in the errors, where curvature is between 1 and ``λ`` (:func:`reach`).

    ``∂𝓕/∂e = Bᵀ ∂𝓕/∂z`` with ``z = B e`` and ``cond(B)² ≤ κ(H_z) λ``: so many more steps may pass
    before the force on the activities has come down, too. As ``‖B⁻¹‖² ≤ Λ``, a step ``η`` takes
    ``η ‖ρ‖²/2Λ`` off the energy, at least.
    """
    most = reach(judge.problem)
    if not judge.problem.network.is_linear:
        step = _CAUTION / most
        settings = ErrorInference(step=step, residual=_LEAST_RESIDUAL, max_steps=STEPS)
        return Asked(settings, must_converge=False, decrease=step * _sure(judge))
    low, high = _curvatures(judge.problem)
    residual = _foretold(judge, STEPS / most)
    steps = ceil(most * (log(1 / residual) + log(high / low * most) / 2)) + 1
    foreseeable = steps <= 10 * STEPS
    settings = ErrorInference(
        step=1 / most, residual=residual, max_steps=steps if foreseeable else STEPS
    )
    return Asked(settings, must_converge=foreseeable)


def _foretold(judge: InferenceJudge, decay: float) -> float:
    """Return the residual that ``STEPS`` steps are sure to reach, of which ``e^-decay`` is left.

    Raises an ``UndecidableError`` if rounding may do as much to the residual at the start.
    """
    left = exp(-decay)
    if 1 - left < _least(judge):
        raise UndecidableError(
            f"{STEPS} steps are sure to bring the residual down by no more than rounding may"
        )
    # Backends compare in their own dtype: ask for what float32 holds.
    return float(np.nextafter(np.float32(max(_least(judge), left)), np.float32(1)))


def _least(judge: InferenceJudge) -> float:
    """Return the least residual to ask for: what rounding leaves, some times over, is reached."""
    rounding = float(np.linalg.norm(judge.forward_rounding.sample_residuals))
    return min(max(_LEAST_RESIDUAL, _ROOM * rounding / judge.start), _MOST_RESIDUAL)


def _decrease(judge: InferenceJudge, curvature: float) -> float:
    """Return the least decrease of the energy in a step of the inverse curvature."""
    return float(np.sum(judge.starts**2)) / (2 * curvature * judge.samples)


def _curvatures(problem: Problem) -> tuple[float, float]:
    """Least and largest curvature of a linear network's energy, of any sample."""
    network, alike = problem.layered, problem.precision is None
    rows = problem.rows(slice(1)) if alike else problem
    activities = [*feedforward(network, rows.x)[:-1], rows.y]
    least = least_curvatures(network, activities, rows.precision)
    most = largest_curvatures(network, activities, rows.precision)
    demand_definite(least, most, sum(map(len, problem.weights[:-1])))
    return float(least.min()), float(most.max())


def reach(problem: Problem) -> float:
    """``λ_max(I + √Π Σ_l K_l K_lᵀ √Π)`` at feedforward activities, the largest of all samples."""
    alike = problem.network.is_linear and problem.precision is None
    rows = problem.rows(slice(1)) if alike else problem
    forward = feedforward(rows.layered, rows.x)
    return float(error_curvatures(rows.layered, forward, rows.precision).max())


def _map_norm(weight: np.ndarray) -> float:
    """``‖A‖``, of a convolution no less than that."""
    if weight.ndim == 2:
        return float(np.linalg.norm(weight, 2))
    places = np.ndindex(*weight.shape[2:])
    return sum(float(np.linalg.norm(weight[:, :, p, q], 2)) for p, q in places)
