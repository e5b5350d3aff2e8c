"""Whether engines do as their settings say: step, halving, residual and budget; tolerances, time.

Where inference ends says little of that. Gradient descent, in activities or in errors, is held step
by step against the theory's own; of the flow, see ``_conformance_flow.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench import checks
from pcbench.case import CaseSkippedError, Omission
from pcbench.cases.conformance.inference.engines import from_outside, most_curved, reach
from pcbench.cases.conformance.inference.flow import flow
from pcbench.cases.conformance.inference.records import record, rows_close
from pcbench.cases.conformance.inference.reuse import reuse
from pcbench.cases.conformance.subject import Subject, offered
from pcbench.checks import Check, Tolerance
from pcbench.contract import (
    Backend,
    BackendUnavailableError,
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
)
from pcbench.judges.account import as_reported, counted
from pcbench.judges.agreement import is_smooth
from pcbench.judges.problem import Problem
from pcbench.judges.relaxed import NEVER, Relaxed
from pcbench.judges.relaxed_judge import RelaxedJudge, judged
from pcbench.theory.nonlinear.curvature import largest_curvatures
from pcbench.theory.nonlinear.inference_steps import (
    InferenceSteps,
    Rule,
    StepsRounding,
    decided,
    inference_steps,
    steps_rounding,
)
from pcbench.theory.nonlinear.layered import feedforward
from pcbench.theory.rounding.bounds import unit_roundoff

STEPS = 6
"""How many steps are compared: enough to be halved several times, too few to be at rest."""

# Parts of the inverse of the largest curvature where inference begins: one that goes down, and one
# beyond 2, which goes up at once.
_SHORT, _LONG = 0.7, 5.0
# A step after which the schedule gives up: it is halved twice first.
_SPENT = 0.25
RULE = "from the feedforward activities, by the rule of the settings (backends/inference.py)"
_MANY_STEPS = 8
# What steps have reached is asked for with room for rounding.
_REACHED = 0.99


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
    subject, judge = Subject(backend, problem), RelaxedJudge(problem, backend.dtype)
    u = unit_roundoff(backend.dtype)
    for engine in offered(backend, problem):
        match engine:
            case "gradient" | "error":
                for what, rule in rules(problem, u, in_errors=engine == "error").items():
                    name = f"{engine}: {what}"
                    try:
                        yield from _walked(subject, judge, name, engine, rule)
                    except BackendUnavailableError as refusal:  # it may lack one, such as halving
                        yield Omission(name, str(refusal))
            case "gauss_newton":
                settings = GaussNewtonInference(residual=1e-3, max_steps=_MANY_STEPS, record=True)
                relaxed = subject.infer(settings)
                form = judge.form(engine, relaxed)
                yield form
                if form.passed:
                    yield from record(judge, problem, engine, relaxed, settings, u)
                    yield from reuse(subject, judge, most_curved(problem, judge))
            case "ode":
                yield from flow(subject, judge, most_curved(problem, judge))
            case "exact":
                pass
            case _:
                yield from _from_outside(subject, judge, engine)


def _from_outside(subject: Subject, judge: RelaxedJudge, engine: str) -> Iterator[Check]:
    """Ask for a few steps, and for a residual that as many have reached."""
    problem = subject.problem
    may_rise = 0.0 if is_smooth(problem.network) else np.inf
    settings = from_outside(engine, problem, judge, residual=NEVER, max_steps=STEPS, record=True)
    relaxed = subject.infer(settings)
    made = list(judge.checks(engine, relaxed, settings, must_converge=False, may_rise=may_rise))
    yield from made
    if not checks.all_passed(made[:1]):
        return
    yield from record(judge, problem, engine, relaxed, settings, judge.u)
    due = relaxed.steps if relaxed.converged else STEPS
    yield checks.approx(f"{engine}: count", relaxed.steps, due, counted("steps"), source=RULE)
    reached = float(relaxed.residual)
    if not NEVER < reached < _REACHED:
        return
    asked = settings.model_copy(update={"residual": reached / _REACHED, "max_steps": 2 * STEPS})
    again = subject.infer(asked)
    made = list(judge.checks(engine, again, asked, must_converge=False, may_rise=may_rise))
    yield from made
    if checks.all_passed(made[:1]):
        name = f"{engine}: steps to a residual that {STEPS} steps have reached"
        yield checks.at_most(name, again.steps, relaxed.steps, counted("steps"), source=RULE)


def rules(problem: Problem, u: float, *, in_errors: bool) -> dict[str, Rule]:
    """Return the rules to ask for, by what is tried; those that rounding could decide are cut."""
    network, precision = judged(problem), problem.precision
    unit = 1 / steepest(problem, in_errors=in_errors)
    plain = Rule(_SHORT * unit, STEPS, NEVER, in_errors=in_errors)
    asked = {"steps": plain}
    residuals = inference_steps(network, problem.x, problem.y, plain, precision).residuals
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
    cut = {
        what: decided(network, problem.x, problem.y, rule, u, precision)
        for what, rule in asked.items()
    }
    return {what: rule for what, rule in cut.items() if rule.budget > 0}


def steepest(problem: Problem, *, in_errors: bool) -> float:
    """Return the largest curvature of a sample's energy where inference begins."""
    if in_errors:
        most = 1.0 if problem.precision is None else max(1.0, float(problem.precision.max()))
        return most * reach(problem)
    network = judged(problem)
    forward = [*feedforward(network, problem.x)[:-1], problem.y]
    return float(largest_curvatures(network, forward, problem.precision).max())


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
    subject: Subject, judge: RelaxedJudge, name: str, engine: str, rule: Rule
) -> Iterator[Check]:
    problem, settings = subject.problem, settings_of(rule)
    u = unit_roundoff(subject.backend.dtype)
    relaxed = subject.infer(settings)
    form = judge.form(engine, relaxed)
    yield form
    if not form.passed:
        return
    yield from record(judge, problem, engine, relaxed, settings, u)
    due = inference_steps(judge.network, problem.x, problem.y, rule, problem.precision)
    rounding = steps_rounding(judge.network, problem.x, problem.y, rule, due, u, problem.precision)
    yield from as_stepped(name, relaxed, due, rounding)
    yield checks.approx(
        f"{name}: count", relaxed.steps, len(due.steps), counted("steps"), source=RULE
    )
    reached = bool(due.residuals[-1] <= rule.residual)
    yield as_reported(f"{name}: converged", relaxed.converged, reached)


def as_stepped(
    name: str, relaxed: Relaxed, due: InferenceSteps, rounding: StepsRounding
) -> Iterator[Check]:
    """Compare where inference ended, and the way there, with the theory's own steps."""
    derivation = "what rounding makes of the same steps (theory.md 4.3)"
    yield checks.distance(
        f"{name}: activities",
        np.concatenate([relaxed.activities[0][:, :0], *relaxed.activities[1:-1]], axis=1),
        due.hidden,
        Tolerance(rounding.hidden, derivation),
        source=RULE,
    )
    yield checks.approx(
        f"{name}: residual",
        float(relaxed.residual),
        float(due.residuals[-1]),
        Tolerance(float(rounding.residuals[-1]), derivation),
        source=RULE,
    )
    yield from rows_close(name, relaxed.path, due, rounding)
