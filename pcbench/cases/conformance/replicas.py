"""Whether replicas are so many models of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench import checks
from pcbench.cases.conformance.evaluation import EvaluationJudge, anywhere
from pcbench.cases.conformance.inference.alone import as_alone
from pcbench.cases.conformance.inference.engines import ask_for, of_all, step_of, verdicts
from pcbench.cases.conformance.offered import offered
from pcbench.checks import Check
from pcbench.contract import Backend, IterativeInference
from pcbench.judges.answers import InferenceResult, Subject
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.reported import arrived, as_reported


def replicas(
    backend: Backend[Any], problems: Sequence[Problem], rng: np.random.Generator
) -> Iterator[Check]:
    """Ask for several networks of one shape at once, and judge each as if it were alone.

    Parameters
    ----------
    backend
        The backend that is asked.
    problems
        The same network and batch at different points.
    rng
        Draws the activities at which energies are asked.
    """
    stacked = [np.stack(arrays) for arrays in zip(*(p.parameters for p in problems), strict=True)]
    subject = Subject(backend, problems[0], stacked)
    activities = [anywhere(problem, rng, backend.dtype) for problem in problems]
    (x, *_), (*_, y) = activities[0], activities[0]
    hidden = [np.stack(z) for z in zip(*(one[1:-1] for one in activities), strict=True)]
    answers = subject.evaluate([x, *hidden, y])  # a batch is shared, hidden activities are not
    for index, (problem, own) in enumerate(zip(problems, activities, strict=True)):
        judge = EvaluationJudge(problem, own, backend.dtype)
        alone = answers.replica(index, len(problems))
        well_formed = judge.well_formed(alone)
        yield well_formed.at(f"replica {index + 1}")
        if not well_formed.passed:
            return
        yield from (check.at(f"replica {index + 1}") for check in judge.checks(alone))
    for engine in offered(backend, problems[0]):
        yield from _engine(engine, subject, problems)
    yield from as_alone(subject, problems)


def _engine(engine: str, subject: Subject, problems: Sequence[Problem]) -> Iterator[Check]:
    """Let an engine relax all of them with the settings of the one that needs most care."""
    judges = [InferenceJudge(problem, subject.backend.dtype) for problem in problems]
    each = [ask_for(engine, judge) for judge in judges]
    asked = of_all(each)
    result = subject.infer(asked.settings)
    answers = [result.replica(index, len(problems)) for index in range(len(problems))]
    forms = [judge.form(engine, answer) for judge, answer in zip(judges, answers, strict=True)]
    yield from forms
    if not checks.all_passed(forms):
        return
    finished = [_finished(asked.settings, answer) for answer in answers]
    yield as_reported(f"{engine}: converged in every replica", result.converged, all(finished))
    for index, (answer, judge) in enumerate(zip(answers, judges, strict=True)):
        own = replace(answer, converged=finished[index])
        # Steps that are shorter than a replica's own go down by less, in proportion at least.
        shorter = step_of(asked) / step_of(each[index])
        due = replace(asked, decrease=each[index].decrease * shorter)
        made = verdicts(judge, engine, own, due)
        yield from (check.at(f"replica {index + 1}") for check in made)


def _finished(settings: Any, answer: InferenceResult) -> bool:
    if not isinstance(settings, IterativeInference):
        return True
    return arrived(settings, answer.residual, answer.sample_residuals)
