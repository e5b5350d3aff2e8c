"""Whether each replica ends as it would alone: activities, steps, residual and record.

Replicas are asked for what some of them reach before others: those have to stay where they are. The
step is one for all, and halving is each one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench import checks
from pcbench.cases.conformance.inference.settings import as_stepped, settings_of, steepest
from pcbench.cases.conformance.inference.steps import decided, expected_steps, rounding_of
from pcbench.cases.conformance.offered import offered
from pcbench.checks import Check
from pcbench.contract import GaussNewtonInference, InferenceSettings
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import NEVER, InferenceResult, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.reported import counts_match
from pcbench.theory.nonlinear.inference_steps import Rule
from pcbench.theory.rounding.bounds import CONFIDENCE

ALONE = "each replica stays where it would have ended alone (contract/model.py)"
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
    judges = [InferenceJudge(problem, subject.backend.dtype) for problem in problems]
    for engine in offered(subject.backend, problems[0]):
        if engine in ("gradient", "error"):
            for rule in _rules(judges, in_errors=engine == "error"):
                yield from _walked(engine, subject, judges, rule)
        if engine == "gauss_newton":
            yield from _newton(subject, judges)


def _rules(judges: Sequence[InferenceJudge], *, in_errors: bool) -> Iterator[Rule]:
    """Return a residual that replicas reach one after the other, and steps that each halves."""
    unit = 1 / max(steepest(judge, in_errors=in_errors) for judge in judges)
    plain = Rule(_SHORT * unit, _BUDGET, NEVER, in_errors=in_errors)
    residuals = [expected_steps(judge, plain).residuals for judge in judges]
    early, late = (
        min(float(one[: step + 1].min()) for one in residuals) for step in (_FIRST - 1, _FIRST)
    )
    if late < early < 1:
        yield replace(plain, residual=float(np.sqrt(early * late)))
    if not in_errors:
        yield replace(plain, step=_LONG * unit, budget=_LONG_BUDGET, halve=True)


def _walked(
    engine: str, subject: Subject, judges: Sequence[InferenceJudge], rule: Rule
) -> Iterator[Check]:
    """Compare with the theory's steps, of all replicas together and of each alone."""
    budget = min(decided(judge, rule).budget for judge in judges)
    if budget < 1:
        return
    rule = replace(rule, budget=budget)
    label = f"{engine}: {'halving' if rule.halve else 'residual'}"
    together, alone = yield from _asked(engine, subject, judges, settings_of(rule))
    dues = [expected_steps(judge, rule) for judge in judges]
    for number, (judge, due) in enumerate(zip(judges, dues, strict=True)):
        rounding = rounding_of(judge, rule, due)
        for how, answers in (("with others", together), ("alone", alone)):
            if answers:
                made = as_stepped(label, answers[number], due, rounding)
                yield from (check.at(f"replica {number + 1} {how}") for check in made)
    if together:
        yield _most_steps(label, together, max(len(due.steps) for due in dues))


def _newton(subject: Subject, judges: Sequence[InferenceJudge]) -> Iterator[Check]:
    """Compare replicas with themselves alone, where the same linear systems are solved.

    A step solves a system of condition ``κ``, and so is off by ``κ u`` of the activities; what
    earlier ones are off by, a later one brings down.
    """
    engine = "gauss_newton"
    settings = GaussNewtonInference(residual=_OF_NEWTON, max_steps=_NEWTON_STEPS)
    together, alone = yield from _asked(engine, subject, judges, settings)
    if not together or not alone:
        return
    basis = Basis(ALONE, "what solving a system of this condition rounds, every step", label=engine)
    for number, (judge, one, other) in enumerate(zip(judges, together, alone, strict=True)):
        ends = [judge.curvatures(z) for z in (judge.forward, judge.clamped(other))]
        least, most = min(low for low, _ in ends), max(high for _, high in ends)
        if least <= 0:
            continue  # no bound on what a system may do to its rounding
        y, where = judge.problem.y, f"replica {number + 1}"
        size = np.linalg.norm(other.hidden) + np.linalg.norm(y[np.isfinite(y)])
        off = CONFIDENCE * judge.u * (other.steps + 1) * most / least * float(size)
        yield basis.distance("activities as alone", one.hidden, other.hidden, off, where)
        off *= most / judge.start
        yield basis.distance("residual as alone", one.residual, other.residual, off, where)
    yield _most_steps(engine, together, max(answer.steps for answer in alone))


def _most_steps(label: str, together: Sequence[InferenceResult], most: int) -> Check:
    name = f"{label}: count of the replica that took most"
    return counts_match(name, together[0].steps, most, "steps")


def _asked(
    engine: str,
    subject: Subject,
    judges: Sequence[InferenceJudge],
    settings: InferenceSettings,
) -> Any:
    """Return the answers of all together, replica by replica, and of each alone; none if bad."""
    whole, count = subject.infer(settings), len(judges)
    together = [whole.replica(index, count) for index in range(count)]
    alone = [Subject(subject.backend, judge.problem).infer(settings) for judge in judges]
    for answers in (together, alone):
        forms = [judge.form(engine, one) for judge, one in zip(judges, answers, strict=True)]
        yield from forms
        if not checks.all_passed(forms):
            answers.clear()
    return together, alone
