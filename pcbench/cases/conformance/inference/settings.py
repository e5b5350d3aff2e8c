"""Whether engines do as their settings say: step, halving, residual and budget; tolerances, time.

Where inference ends says little of that. Gradient descent, in activities or in errors, is held step
by step against the theory's own; the flow is held in ``flow.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool

from pcbench import checks
from pcbench.case import CaseSkippedError, Omission
from pcbench.cases.conformance.draw import offered
from pcbench.cases.conformance.inference.batch import newton_condition, newton_rounding
from pcbench.cases.conformance.inference.engines import from_outside, most_curved, reach
from pcbench.cases.conformance.inference.flow import flow
from pcbench.cases.conformance.inference.steps import (
    decided,
    expected_steps,
    record,
    rounding_of,
    rows_close,
)
from pcbench.checks import Check
from pcbench.contract import (
    Backend,
    BackendUnavailableError,
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
)
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import NEVER, Array, InferenceResult, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.reported import as_reported, counted, counts_match
from pcbench.theory.nonlinear.curvature import largest_curvatures
from pcbench.theory.nonlinear.inference_steps import InferenceSteps, Rule, StepsRounding
from pcbench.theory.nonlinear.layered import feedforward, layered_errors
from pcbench.theory.rounding.bounds import unit_roundoff

STEPS = 6
"""How many steps are compared: enough to be halved several times, too few to be at rest."""

# Parts of the inverse of the largest curvature where inference begins: one that goes down, and one
# beyond 2, which goes up at once.
_SHORT, _LONG = 0.7, 5.0
# A step after which the schedule gives up: it is halved twice first.
_SPENT = 0.25
RULE = "from the feedforward activities, by the rule of the settings (contract/inference.py)"
_MANY_STEPS = 8
# What steps have reached is asked for with room for rounding.
_REACHED = 0.99
REUSE = "steps that each linearisation serves (contract/inference.py)"
_MOST = 2
# By how much more than rounding the next step must be another, for the question to be asked.
_CLEAR = 1e3
# Of differences of first order in float64.
_H = unit_roundoff("float64") ** (1 / 3)


def settings_obeyed(backend: Backend[Any], problem: Problem) -> Iterator[Check | Omission]:
    """Ask every iterative engine on offer, in several settings, and for a record in all of them.

    What a backend refuses is left out, and the rest is asked.

    Raises
    ------
    CaseSkippedError
        If there is none, or the network has no hidden layer.
    """
    if not set(offered(backend, problem)) - {"exact"}:
        raise CaseSkippedError("the backend offers no iterative engine of inference")
    if not problem.network.n_hidden:
        raise CaseSkippedError("question: settings takes hidden layers")
    subject, judge = Subject(backend, problem), InferenceJudge(problem, backend.dtype)
    for engine in offered(backend, problem):
        match engine:
            case "gradient" | "error":
                for what, rule in rules(judge, in_errors=engine == "error").items():
                    name = f"{engine}: {what}"
                    try:
                        yield from _walked(subject, judge, name, engine, rule)
                    except BackendUnavailableError as refusal:  # it may lack one, such as halving
                        yield Omission(name, str(refusal))
            case "gauss_newton":
                settings = GaussNewtonInference(residual=1e-3, max_steps=_MANY_STEPS, record=True)
                result = subject.infer(settings)
                form = judge.form(engine, result)
                yield form
                if form.passed:
                    yield from record(judge, engine, result, settings)
                    yield from reuse(subject, judge, most_curved(judge))
            case "ode":
                yield from flow(subject, judge, most_curved(judge))
            case "exact":
                pass
            case _:
                yield from _from_outside(subject, judge, engine)


def _from_outside(subject: Subject, judge: InferenceJudge, engine: str) -> Iterator[Check]:
    """Ask for a few steps, and for a residual that as many have reached."""
    may_rise = 0.0 if is_smooth(judge.problem.network) else np.inf
    settings = from_outside(engine, judge, residual=NEVER, max_steps=STEPS, record=True)
    result = subject.infer(settings)
    made = list(judge.checks(engine, result, settings, must_converge=False, may_rise=may_rise))
    yield from made
    if not checks.all_passed(made[:1]):
        return
    yield from record(judge, engine, result, settings)
    due = result.steps if result.converged else STEPS
    yield counts_match(f"{engine}: count", result.steps, due, "steps", source=RULE)
    reached = float(result.residual)
    if not NEVER < reached < _REACHED:
        return
    asked = settings.model_copy(update={"residual": reached / _REACHED, "max_steps": 2 * STEPS})
    again = subject.infer(asked)
    made = list(judge.checks(engine, again, asked, must_converge=False, may_rise=may_rise))
    yield from made
    if checks.all_passed(made[:1]):
        name = f"{engine}: steps to a residual that {STEPS} steps have reached"
        yield checks.at_most(name, again.steps, result.steps, counted("steps"), source=RULE)


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


def _walked(
    subject: Subject, judge: InferenceJudge, name: str, engine: str, rule: Rule
) -> Iterator[Check]:
    settings = settings_of(rule)
    result = subject.infer(settings)
    form = judge.form(engine, result)
    yield form
    if not form.passed:
        return
    yield from record(judge, engine, result, settings)
    due = expected_steps(judge, rule)
    yield from as_stepped(name, result, due, rounding_of(judge, rule, due))
    yield counts_match(f"{name}: count", result.steps, len(due.steps), "steps", RULE)
    reached = bool(due.residuals[-1] <= rule.residual)
    yield as_reported(f"{name}: converged", result.converged, reached)


def as_stepped(
    name: str, result: InferenceResult, due: InferenceSteps, rounding: StepsRounding
) -> Iterator[Check]:
    """Compare where inference ended, and the way there, with the theory's own steps."""
    basis = Basis(RULE, "what rounding makes of the same steps (theory.md 4.3)", label=name)
    yield basis.distance("activities", result.hidden, due.hidden, rounding.hidden)
    yield basis.approx("residual", result.residual, due.residuals[-1], rounding.residuals[-1])
    yield from rows_close(name, result.path, due, rounding)


def reuse(subject: Subject, judge: InferenceJudge, curvature: float) -> Iterator[Check]:
    """Check that a linearisation of Gauss-Newton serves as many steps as ``reuse`` says.

    As many steps are those of a single linearisation; the next one is not, where the network has
    bent on the way. The curvature is that of :func:`flow`.
    """
    if not is_smooth(subject.problem.network):
        return  # between kinks a network does not bend

    def after(steps: int, serves: int) -> InferenceResult:
        settings = GaussNewtonInference(residual=NEVER, max_steps=steps, reuse=serves)
        return subject.infer(settings)

    served = [after(steps, _MOST + 1) for steps in range(1, _MOST + 2)]
    form = [judge.form("gauss_newton", one) for one in served]
    yield from form
    if not checks.all_passed(form):
        return
    condition = newton_condition(judge, curvature)
    solving = Basis(REUSE, "what solving systems of this condition rounds (theory.md 3.3)")
    repeated = Basis(REUSE, "what rounding makes of the same step (theory.md 3.3)")
    for steps in range(1, _MOST + 1):
        last, onward = served[steps - 1], served[steps]
        off = newton_rounding(judge, curvature, steps + 1)
        name = f"gauss_newton: steps of a linearisation that serves {steps}"
        yield solving.distance(name, after(steps, steps).hidden, last.hidden, off)
        taken = _taken(judge, served[: steps + 1])
        if np.linalg.norm(_bent(judge, last, onward)[taken]) > _CLEAR * condition * off:
            yield repeated.at_least(
                f"gauss_newton: how far the step after {steps} with a new linearisation is from "
                "that with the old one",
                float(np.linalg.norm(after(steps + 1, steps).hidden - onward.hidden)),
                2 * off,
                off,
            )


def _taken(judge: InferenceJudge, served: Sequence[InferenceResult]) -> Bool[np.ndarray, " N"]:
    """Return which samples took every step: one that was refused may be linearised anew."""
    start = np.concatenate(judge.forward[1:-1], axis=1)
    places = [start, *(result.hidden for result in served)]
    norms = [
        (np.linalg.norm(after - before, axis=1), np.linalg.norm(after, axis=1))
        for before, after in pairwise(places)
    ]
    taken: Bool[np.ndarray, " N"] = np.all(
        [step > np.sqrt(judge.u) * size for step, size in norms], axis=0
    )
    return taken


def _bent(judge: InferenceJudge, last: InferenceResult, onward: InferenceResult) -> Array:
    """``(B - B_0) s`` for the step ``s`` from where inference was: what was linearised wrongly.

    ``B`` is the derivative of the errors, here and where inference began.
    """
    here, there = judge.clamped(last), judge.clamped(onward)
    step = [after - before for after, before in zip(there[1:-1], here[1:-1], strict=True)]
    start = feedforward(judge.network, here[0])
    slopes = [_moved(judge, at, step) for at in (here, start)]
    bent: Array = slopes[0] - slopes[1]
    return bent


def _moved(judge: InferenceJudge, at: Sequence[Array], step: Sequence[Array]) -> Array:
    """``B s``, by differences."""
    ends = [
        layered_errors(
            judge.network,
            [at[0], *(z + h * s for z, s in zip(at[1:-1], step, strict=True)), 0 * at[-1]],
        )
        for h in (_H, -_H)
    ]
    rows = [(up - down) / (2 * _H) for up, down in zip(*ends, strict=True)]
    moved: Array = np.nan_to_num(np.concatenate(rows, axis=1))
    return moved
