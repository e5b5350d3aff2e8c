"""Whether replicas are so many models of their own, and end as each would alone.

They are asked for what some of them reach before others: those have to stay where they are. The
step is one for all, and halving is each one's own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import numpy as np

from pcbench import checks
from pcbench.cases.conformance.evaluation import anywhere, evaluated
from pcbench.cases.conformance.inference.engines import ask_for, most_curved, of_all, verdicts
from pcbench.cases.conformance.inference.settings import settings_of, steepest
from pcbench.cases.conformance.inference.steps import (
    as_stepped,
    decided,
    expected_steps,
    rounding_of,
)
from pcbench.cases.conformance.subject import JudgedSubject, formed
from pcbench.checks import Check
from pcbench.contract import GaussNewtonInference, InferenceSettings, IterativeInference
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import NEVER, InferenceResult, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.reported import arrived, as_reported, counts_match
from pcbench.theory.nonlinear.curvature import largest_curvatures, least_curvatures
from pcbench.theory.nonlinear.inference_steps import Rule
from pcbench.theory.rounding.bounds import CONFIDENCE

ALONE = "each replica stays where it would have ended alone (contract/model.py)"
# Parts of the inverse of the largest curvature: one that goes down, one beyond 2.
_SHORT, _LONG = 0.7, 5.0
# The first replica to arrive does so after some steps, and others have more to take.
_FIRST, _BUDGET, _LONG_BUDGET = 3, 12, 6
_OF_NEWTON, _NEWTON_STEPS = 0.05, 8
# A flow has to go down in replicas whose largest curvature is within that factor of the stiffest's.
_ALIKE = 10.0


def replicas(
    subject: JudgedSubject, problems: Sequence[Problem], rng: np.random.Generator
) -> Iterator[Check]:
    """Ask for a network and batch at several points at once, and judge each as if it were alone."""
    backend, each = subject.backend, [subject.at(problem) for problem in problems]
    stacked = [np.stack(arrays) for arrays in zip(*(p.parameters for p in problems), strict=True)]
    together = Subject(backend, problems[0], stacked)
    activities = [anywhere(problem, rng, backend.dtype) for problem in problems]
    (x, *_), (*_, y) = activities[0], activities[0]
    hidden = [np.stack(z) for z in zip(*(one[1:-1] for one in activities), strict=True)]
    answers = together.evaluate([x, *hidden, y])  # a batch is shared, hidden activities are not
    for index, (one, own) in enumerate(zip(each, activities, strict=True)):
        made = evaluated(one.judge, own, answers.replica(index, len(problems)))
        form = next(made)
        yield form.at(f"replica {index + 1}")
        if not form.passed:
            return
        yield from (check.at(f"replica {index + 1}") for check in made)
    for engine in subject.engines:
        yield from _engine(engine, together, each)
    yield from as_alone(together, each)


def _engine(engine: str, together: Subject, each: Sequence[JudgedSubject]) -> Iterator[Check]:
    """Let an engine relax all of them with the settings of the one that needs most care."""
    judges = [one.judge for one in each]
    wanted = [ask_for(engine, judge) for judge in judges]
    asked = of_all(wanted)
    settings, result = asked.settings, together.infer(asked.settings)
    answers = yield from formed(engine, judges, _split(result, len(each)), settings)
    if not answers:
        return
    stiffness = [most_curved(judge) for judge in judges]
    finished = [
        not isinstance(settings, IterativeInference)
        or arrived(settings, answer.residual, answer.sample_residuals)
        for answer in answers
    ]
    yield as_reported(f"{engine}: converged in every replica", result.converged, all(finished))
    for index, (answer, judge, own) in enumerate(zip(answers, judges, wanted, strict=True)):
        # Steps that are shorter than a replica's own go down by less, in proportion at least.
        shorter = getattr(settings, "step", 1.0) / getattr(own.settings, "step", 1.0)
        # The flow's budget, in steps of the stiffest, may end before others have gone anywhere.
        if engine == "ode" and max(stiffness) > _ALIKE * stiffness[index]:
            shorter = 0.0
        due = replace(asked, decrease=own.decrease * shorter)
        made = verdicts(judge, engine, replace(answer, converged=finished[index]), due)
        yield from (check.at(f"replica {index + 1}") for check in made)


def as_alone(together: Subject, each: Sequence[JudgedSubject]) -> Iterator[Check]:
    """Hold replicas against themselves alone; ``ode`` may have one step size for all of them."""
    first = together.problem.network
    if not first.n_hidden or first.convolutions or not is_smooth(first):
        return  # convolutions take the same steps, and the theory is slow there
    for engine in each[0].engines:
        if engine in ("gradient", "error"):
            for rule in _rules([one.judge for one in each], in_errors=engine == "error"):
                yield from _walked(engine, together, each, rule)
        if engine == "gauss_newton":
            yield from _newton(together, each)


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
    engine: str, subject: Subject, each: Sequence[JudgedSubject], rule: Rule
) -> Iterator[Check]:
    """Compare with the theory's steps, of all replicas together and of each alone."""
    judges = [one.judge for one in each]
    label = f"{engine}: {'halving' if rule.halve else 'residual'}"
    for number, judge in enumerate(judges, start=1):
        off = judge.forward_rounding.residual
        if off >= judge.start:
            reason = f"{label}: the force at the start, {judge.start:.2g}, is lost in rounding."
            yield checks.undecided(label, reason, source=ALONE, where=f"replica {number}")
            return
    budget = min(decided(judge, rule).budget for judge in judges)
    if budget < 1:
        return
    rule = replace(rule, budget=budget)
    together, alone = yield from _asked(engine, subject, each, settings_of(rule))
    dues = [expected_steps(judge, rule) for judge in judges]
    for number, (judge, due) in enumerate(zip(judges, dues, strict=True)):
        rounding = rounding_of(judge, rule, due)
        for how, answers in (("with others", together), ("alone", alone)):
            if answers:
                made = as_stepped(label, answers[number], due, rounding)
                yield from (check.at(f"replica {number + 1} {how}") for check in made)
    if together:
        yield _most_steps(label, together, max(len(due.steps) for due in dues))


def _newton(subject: Subject, each: Sequence[JudgedSubject]) -> Iterator[Check]:
    """Compare replicas with themselves alone, where the same linear systems are solved.

    A step solves a system of condition ``κ`` for what is missed, and so is off by ``κ u`` of that
    and of the activities; what earlier ones are off by, a later one brings down.
    """
    engine = "gauss_newton"
    settings = GaussNewtonInference(residual=_OF_NEWTON, max_steps=_NEWTON_STEPS)
    together, alone = yield from _asked(engine, subject, each, settings)
    if not together or not alone:
        return
    basis = Basis(ALONE, "what solving a system of this condition rounds, every step", label=engine)
    for number, (of, one, other) in enumerate(zip(each, together, alone, strict=True)):
        judge, y, where = of.judge, of.problem.y, f"replica {number + 1}"
        ends, precision = (judge.forward, judge.clamped(other)), of.problem.precision
        least = min(float(least_curvatures(judge.network, z, precision).min()) for z in ends)
        most = max(float(largest_curvatures(judge.network, z, precision).max()) for z in ends)
        if least <= 0:
            continue  # no bound on what a system may do to its rounding
        missed = np.sqrt(2 * judge.samples * judge.loss)
        size = np.linalg.norm(other.hidden) + np.linalg.norm(y[np.isfinite(y)]) + missed
        off = CONFIDENCE * judge.u * (other.steps + 1) * most / least * float(size)
        yield basis.distance("activities as alone", one.hidden, other.hidden, off, where)
        off *= most / judge.start
        yield basis.distance("residual as alone", one.residual, other.residual, off, where)
    yield _most_steps(engine, together, max(answer.steps for answer in alone))


def _most_steps(label: str, together: Sequence[InferenceResult], most: int) -> Check:
    name = f"{label}: count of the replica that took most"
    return counts_match(name, together[0].steps, most, "steps")


def _split(result: InferenceResult, count: int) -> list[InferenceResult]:
    return [result.replica(index, count) for index in range(count)]


def _asked(
    engine: str, subject: Subject, each: Sequence[JudgedSubject], settings: InferenceSettings
) -> Generator[Check, None, tuple[list[InferenceResult], list[InferenceResult]]]:
    """Return the answers of all together, replica by replica, and of each alone; none if bad."""
    together = _split(subject.infer(settings), len(each))
    alone = [one.infer(settings) for one in each]
    judges = [one.judge for one in each]
    together = yield from formed(engine, judges, together, settings)
    return together, (yield from formed(engine, judges, alone, settings))
