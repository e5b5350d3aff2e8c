"""Whether each replica ends as it would alone: activities, steps, residual and record.

Replicas are asked for what some of them reach before others: those have to stay where they are. The
step is one for all, and halving is each one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pcbench import checks
from pcbench.cases.conformance.inference.settings import as_stepped, settings_of, steepest
from pcbench.cases.conformance.subject import Array, Subject, offered
from pcbench.checks import Check, Tolerance
from pcbench.contract import GaussNewtonInference, InferenceSettings
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import NEVER, InferenceResult
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.reported import CONTRACT, counted
from pcbench.theory.nonlinear.curvature import largest_curvatures, least_curvatures
from pcbench.theory.nonlinear.inference_steps import (
    InferenceSteps,
    Rule,
    decided,
    inference_steps,
    steps_rounding,
)
from pcbench.theory.nonlinear.layered import feedforward
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff

ALONE = "each replica stays where it would have ended alone (base.py)"
# Parts of the inverse of the largest curvature: one that goes down, one beyond 2.
_SHORT, _LONG = 0.7, 5.0
# The first replica to arrive does so after some steps, and others have more to take.
_FIRST, _BUDGET, _LONG_BUDGET = 3, 12, 6
_OF_NEWTON, _NEWTON_STEPS = 0.05, 8


def as_alone(subject: Subject, problems: Sequence[Problem]) -> Iterator[Check]:
    """Hold replicas against themselves alone; ``ode`` may have one step size for all of them."""
    first = problems[0].network
    if not first.n_hidden or first.convolutions or not is_smooth(first):
        return  # convolutions take the same steps, and the theory is slow there
    for engine in offered(subject.backend, problems[0]):
        if engine in ("gradient", "error"):
            for rule in _rules(problems, in_errors=engine == "error"):
                yield from _walked(engine, subject, problems, rule)
        if engine == "gauss_newton":
            yield from _newton(subject, problems)


def _rules(problems: Sequence[Problem], *, in_errors: bool) -> Iterator[Rule]:
    """Return a residual that replicas reach one after the other, and steps that each halves."""
    unit = 1 / max(steepest(problem, in_errors=in_errors) for problem in problems)
    plain = Rule(_SHORT * unit, _BUDGET, NEVER, in_errors=in_errors)
    residuals = [_due(problem, plain).residuals for problem in problems]
    early, late = (
        min(float(one[: step + 1].min()) for one in residuals) for step in (_FIRST - 1, _FIRST)
    )
    if late < early < 1:
        yield replace(plain, residual=float(np.sqrt(early * late)))
    if not in_errors:
        yield replace(plain, step=_LONG * unit, budget=_LONG_BUDGET, halve=True)


def _due(problem: Problem, rule: Rule) -> InferenceSteps:
    return inference_steps(problem.layered, problem.x, problem.y, rule, problem.precision)


def _walked(
    engine: str, subject: Subject, problems: Sequence[Problem], rule: Rule
) -> Iterator[Check]:
    """Compare with the theory's steps, of all replicas together and of each alone."""
    u = unit_roundoff(subject.backend.dtype)
    cut = [decided(p.layered, p.x, p.y, rule, u, p.precision).budget for p in problems]
    if min(cut) < 1:
        return
    rule = replace(rule, budget=min(cut))
    what = "halving" if rule.halve else "residual"
    together, alone = yield from _asked(engine, subject, problems, settings_of(rule))
    dues = [_due(problem, rule) for problem in problems]
    for number, (problem, due) in enumerate(zip(problems, dues, strict=True)):
        rounding = steps_rounding(
            problem.layered, problem.x, problem.y, rule, due, u, problem.precision
        )
        for how, answers in (("with others", together), ("alone", alone)):
            if answers:
                made = as_stepped(f"{engine}: {what}", answers[number], due, rounding)
                yield from (check.at(f"replica {number + 1} {how}") for check in made)
    if together:
        yield checks.approx(
            f"{engine}: {what}: count of the replica that took most",
            together[0].steps,
            max(len(due.steps) for due in dues),
            counted("steps"),
            source=CONTRACT,
        )


def _newton(subject: Subject, problems: Sequence[Problem]) -> Iterator[Check]:
    """Compare replicas with themselves alone, where the same linear systems are solved.

    A step solves a system of condition ``κ``, and so is off by ``κ u`` of the activities; what
    earlier ones are off by, a later one brings down.
    """
    engine, u = "gauss_newton", unit_roundoff(subject.backend.dtype)
    settings = GaussNewtonInference(residual=_OF_NEWTON, max_steps=_NEWTON_STEPS)
    together, alone = yield from _asked(engine, subject, problems, settings)
    if not together or not alone:
        return
    for number, problem in enumerate(problems):
        judge = InferenceJudge(problem, subject.backend.dtype)
        one, other = together[number], alone[number]
        least, most = _curvatures(judge, problem, other)
        if least <= 0:
            continue  # no bound on what a system may do to its rounding
        size = np.linalg.norm(_flat(other)) + np.linalg.norm(problem.y[np.isfinite(problem.y)])
        off = CONFIDENCE * u * (other.steps + 1) * most / least * float(size)
        for name, seen, due, allowed in (
            ("activities", _flat(one), _flat(other), off),
            ("residual", one.residual, other.residual, most * off / judge.start),
        ):
            yield checks.distance(
                f"{engine}: {name} as alone",
                seen,
                due,
                Tolerance(allowed, "what solving a system of this condition rounds, every step"),
                source=ALONE,
                where=f"replica {number + 1}",
            )
    yield checks.approx(
        f"{engine}: count of the replica that took most",
        together[0].steps,
        max(answer.steps for answer in alone),
        counted("steps"),
        source=CONTRACT,
    )


def _curvatures(
    judge: InferenceJudge, problem: Problem, at: InferenceResult
) -> tuple[float, float]:
    """Least and largest curvature, where inference begins and where it ended."""
    forward = [*feedforward(judge.network, problem.x)[:-1], problem.y]
    ends = [forward, judge.clamped(at)]
    least = [least_curvatures(judge.network, z, problem.precision).min() for z in ends]
    most = [largest_curvatures(judge.network, z, problem.precision).max() for z in ends]
    return float(min(least)), float(max(most))


def _asked(
    engine: str, subject: Subject, problems: Sequence[Problem], settings: InferenceSettings
) -> Any:
    """Return the answers of all together, replica by replica, and of each alone; none if bad."""
    count = len(problems)

    def one(array: Any, index: int) -> Any:
        if array is None or array.shape[:1] != (count,):
            return array
        return array[index, ...]

    whole = subject.infer(settings)
    together = [whole.each(partial(one, index=index)) for index in range(count)]
    alone = [Subject(subject.backend, problem).infer(settings) for problem in problems]
    for answers in (together, alone):
        forms = [
            InferenceJudge(problem, subject.backend.dtype).form(engine, answer)
            for problem, answer in zip(problems, answers, strict=True)
        ]
        yield from forms
        if not checks.all_passed(forms):
            answers.clear()
    return together, alone


def _flat(result: InferenceResult) -> Array:
    return np.concatenate([z.ravel() for z in result.activities[1:-1]])
