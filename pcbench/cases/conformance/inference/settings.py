"""Whether engines do as their settings say: step, halving, residual and budget; tolerances, time.

Where inference ends says little of that. Gradient descent, in activities or in errors, is held step
by step against the theory's own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool

from pcbench import checks
from pcbench.case import CaseSkippedError, Omission
from pcbench.cases.conformance.inference.batch import newton_condition, newton_rounding
from pcbench.cases.conformance.inference.engines import from_outside, most_curved, reach
from pcbench.cases.conformance.inference.steps import (
    RULE,
    as_stepped,
    decided,
    expected_steps,
    flow,
    record,
    rounding_of,
)
from pcbench.cases.conformance.subject import JudgedSubject
from pcbench.checks import Check
from pcbench.contract import (
    BackendUnavailableError,
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
    IterativeInference,
)
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import NEVER, Array, InferenceResult
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.reported import as_reported, counts_match
from pcbench.theory.nonlinear.curvature import largest_curvatures
from pcbench.theory.nonlinear.inference_steps import Rule
from pcbench.theory.nonlinear.layered import feedforward, layered_errors
from pcbench.theory.rounding.bounds import unit_roundoff

STEPS = 6
"""How many steps are compared: enough to be halved several times, too few to be at rest."""

# Parts of the inverse of the largest curvature where inference begins: one that goes down, and one
# beyond 2, which goes up at once.
_SHORT, _LONG = 0.7, 5.0
# A step after which the schedule gives up: it is halved twice first.
_SPENT = 0.25
_MANY_STEPS = 8
# What steps have reached is asked for with room for rounding.
_REACHED = 0.99
REUSE = "steps that each linearisation serves (contract/inference.py)"
_MOST = 2
# By how much more than rounding the next step must be another, for the question to be asked.
_CLEAR = 1e3
# Of differences of first order in float64.
_H = unit_roundoff("float64") ** (1 / 3)


def settings_obeyed(subject: JudgedSubject) -> Iterator[Check | Omission]:
    """Ask every iterative engine on offer, in several settings, and for a record in all of them.

    What a backend refuses is left out, and the rest is asked; where there is no such engine, or no
    hidden layer, the case is skipped.
    """
    engines = [engine for engine in subject.engines if engine != "exact"]
    if not engines:
        raise CaseSkippedError("the backend offers no iterative engine of inference")
    if not subject.problem.network.n_hidden:
        raise CaseSkippedError("question: settings takes hidden layers")
    for engine in engines:
        match engine:
            case "gradient" | "error":
                for what, rule in rules(subject.judge, in_errors=engine == "error").items():
                    name = f"{engine}: {what}"
                    try:
                        yield from _walked(subject, name, engine, rule)
                    except BackendUnavailableError as refusal:  # it may lack one, such as halving
                        yield Omission(name, str(refusal))
            case "gauss_newton":
                settings = GaussNewtonInference(residual=1e-3, max_steps=_MANY_STEPS, record=True)
                for result in (yield from subject.ended(engine, settings)):
                    yield from record(subject.judge, engine, result, settings)
                    yield from reuse(subject, most_curved(subject.judge))
            case "ode":
                yield from flow(subject, most_curved(subject.judge))
            case _:
                yield from _from_outside(subject, engine)


def _from_outside(subject: JudgedSubject, engine: str) -> Iterator[Check]:
    """Ask for a few steps, and for a residual that as many have reached."""
    judge = subject.judge
    may_rise = 0.0 if is_smooth(judge.problem.network) else np.inf

    def ended(
        settings: IterativeInference,
    ) -> Generator[Check, None, tuple[InferenceResult, bool]]:
        result = subject.infer(settings)
        made = judge.checks(engine, result, settings, must_converge=False, may_rise=may_rise)
        form, *rest = made
        yield from (form, *rest)
        return result, form.passed

    settings = from_outside(engine, judge, residual=NEVER, max_steps=STEPS, record=True)
    result, formed = yield from ended(settings)
    if not formed:
        return
    yield from record(judge, engine, result, settings)
    due = result.steps if result.converged else STEPS
    yield counts_match(f"{engine}: count", result.steps, due, "steps", RULE)
    reached = float(result.residual)
    if not NEVER < reached < _REACHED:
        return
    update = {"residual": reached / _REACHED, "max_steps": 2 * STEPS}
    again, formed = yield from ended(settings.model_copy(update=update))
    if formed:
        name = f"{engine}: steps to a residual that {STEPS} steps have reached"
        yield counts_match(name, again.steps, result.steps, "steps", RULE, by=checks.at_most)


def rules(judge: InferenceJudge, *, in_errors: bool) -> dict[str, Rule]:
    """Return the rules to ask for, by what is tried; those that rounding could decide are cut."""
    unit = 1 / steepest(judge, in_errors=in_errors)
    plain = Rule(_SHORT * unit, STEPS, NEVER, in_errors=in_errors)
    asked = {"steps": plain}
    residuals = expected_steps(judge, plain).residuals
    last = len(residuals) - 2
    before = float(residuals[: max(last, 0)].min(initial=np.inf))
    if last > 0 and residuals[last] < before:
        # Reached after that step, and not before.
        middle = float(np.sqrt(before * residuals[last]))
        asked["residual"] = replace(plain, residual=middle)
    if not in_errors:
        long = replace(plain, step=_LONG * unit, halve=True)
        asked["halving"] = long
        asked["smallest step"] = replace(long, smallest=_SPENT * long.step)
    cut = {what: decided(judge, rule) for what, rule in asked.items()}
    return {what: rule for what, rule in cut.items() if rule.budget > 0}


def steepest(judge: InferenceJudge, *, in_errors: bool) -> float:
    """Return the largest curvature of a sample's energy where inference begins."""
    problem = judge.problem
    if in_errors:
        return max(1.0, float(problem.weighting.max())) * reach(problem)
    return float(largest_curvatures(judge.network, judge.forward, problem.precision).max())


def settings_of(rule: Rule) -> ErrorInference | GradientInference:
    """Return the settings that ask for a rule, and for a record."""
    shared: dict[str, Any] = {
        "step": rule.step,
        "residual": rule.residual,
        "max_steps": rule.budget,
        "record": True,
    }
    if rule.in_errors:
        return ErrorInference(**shared)
    return GradientInference(**shared, halve=rule.halve, smallest_step=rule.smallest)


def _walked(subject: JudgedSubject, name: str, engine: str, rule: Rule) -> Iterator[Check]:
    settings, judge = settings_of(rule), subject.judge
    for result in (yield from subject.ended(engine, settings)):
        yield from record(judge, engine, result, settings)
        due = expected_steps(judge, rule)
        yield from as_stepped(name, result, due, rounding_of(judge, rule, due))
        yield counts_match(f"{name}: count", result.steps, len(due.steps), "steps", RULE)
        reached = bool(due.residuals[-1] <= rule.residual)
        yield as_reported(f"{name}: converged", result.converged, reached)


def reuse(subject: JudgedSubject, curvature: float) -> Iterator[Check]:
    """Check that a linearisation of Gauss-Newton serves as many steps as ``reuse`` says.

    As many steps are those of a single linearisation; the next one is not, where the network has
    bent on the way. The curvature is that of :func:`flow`.
    """
    if not is_smooth(subject.problem.network):
        return  # between kinks a network does not bend
    judge = subject.judge

    def after(steps: int, serves: int) -> GaussNewtonInference:
        return GaussNewtonInference(residual=NEVER, max_steps=steps, reuse=serves)

    first_steps = [after(steps, _MOST + 1) for steps in range(1, _MOST + 2)]
    served = yield from subject.ended("gauss_newton", *first_steps)
    condition = newton_condition(judge, curvature)
    solving = Basis(REUSE, "what solving systems of this condition rounds (theory.md 3.3)")
    repeated = Basis(REUSE, "what rounding makes of the same step (theory.md 3.3)")
    for steps, (last, onward) in enumerate(pairwise(served), start=1):
        off = newton_rounding(judge, curvature, steps + 1)
        name = f"gauss_newton: steps of a linearisation that serves {steps}"
        yield solving.distance(name, subject.infer(after(steps, steps)).hidden, last.hidden, off)
        taken = _taken(judge, served[: steps + 1])
        if np.linalg.norm(_bent(judge, last, onward)[taken]) > _CLEAR * condition * off:
            anew = subject.infer(after(steps + 1, steps))
            yield repeated.at_least(
                f"gauss_newton: how far the step after {steps} with a new linearisation is from "
                "that with the old one",
                np.linalg.norm(anew.hidden - onward.hidden),
                2 * off,
                off,
            )


def _taken(judge: InferenceJudge, served: Sequence[InferenceResult]) -> Bool[np.ndarray, " N"]:
    """Return which samples took every step: one that was refused may be linearised anew."""
    places = [np.concatenate(judge.forward[1:-1], axis=1), *(result.hidden for result in served)]
    taken = np.full(judge.samples, fill_value=True)
    for before, after in pairwise(places):
        size = np.linalg.norm(after, axis=1)
        taken &= np.linalg.norm(after - before, axis=1) > np.sqrt(judge.u) * size
    return taken


def _bent(judge: InferenceJudge, last: InferenceResult, onward: InferenceResult) -> Array:
    """``(B - B_0) s`` for the step ``s`` from where inference was: what was linearised wrongly.

    ``B`` is the derivative of the errors, here and where inference began; ``B s`` is found by
    differences.
    """
    here, there = judge.clamped(last), judge.clamped(onward)
    step = [after - before for after, before in zip(there[1:-1], here[1:-1], strict=True)]

    def moved(at: Sequence[Array]) -> Array:
        ends = []
        for h in (_H, -_H):
            hidden = [z + h * s for z, s in zip(at[1:-1], step, strict=True)]
            ends.append(layered_errors(judge.network, [at[0], *hidden, 0 * at[-1]]))
        rows = [(up - down) / (2 * _H) for up, down in zip(*ends, strict=True)]
        return np.asarray(np.nan_to_num(np.concatenate(rows, axis=1)))

    bent: Array = moved(here) - moved(feedforward(judge.network, here[0]))
    return bent
