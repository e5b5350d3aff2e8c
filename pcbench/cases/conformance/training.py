"""Whether trainers take the steps that they should, with replicas and without, at first and later.

What is wrong after ten steps, fifty, or an epoch shows in no first step: a correction that is
frozen, moments that are reset, a rate that decays, batches that come again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import fields, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from pcbench.case import Context
from pcbench.cases.conformance.inference.engines import ask_for, of_all
from pcbench.cases.conformance.subject import JudgedSubject
from pcbench.checks import Check
from pcbench.contract import (
    Adam,
    Backend,
    Capability,
    ExactInference,
    GaussNewtonInference,
    IterativeInference,
    Model,
    Record,
    Sgd,
    Trainer,
    TrainingSettings,
)
from pcbench.judges.answers import Array
from pcbench.judges.problem import Problem
from pcbench.judges.training.step_judge import StepJudge
from pcbench.networks import NetworkSpec

STEPS = 3
COURSE = 120
"""Twelve times what Adam's mean remembers, and many epochs of a small batch."""

_RATE, _SCALE = 0.01, 0.5
# Replicas learn at rates of their own.
_RATES = np.array([1.0, 3.0, 0.5])
# A residual that is reached in a few steps, and a budget for where it is not. In long runs steps
# are judged wherever inference ends: as few as make it iterate.
_RESIDUAL, _BUDGET, _BUDGET_OF_COURSE = 1e-3, 20, 2


def training(
    context: Context, problems: Sequence[Problem], rng: np.random.Generator, *, turn: int
) -> Iterator[Check]:
    """Judge the first steps of backpropagation and of predictive coding.

    The problems are one network, with the same samples, at different points: a replica each, where
    there are any; the first is trained alone, too. In every second turn Adam is the optimiser, else
    gradient descent; engines take turns.
    """
    subject = JudgedSubject(context.backend, problems[0])
    batches = _batches(subject.problem, STEPS, rng)
    for learner, settings in learners(subject, problems, adam=turn % 2 == 0, turn=turn):
        yield from _alone(context, subject.problem, settings, batches, f"{learner} alone")
        if Capability.REPLICAS in context.backend.capabilities:
            pairs = zip(*(problem.parameters for problem in problems), strict=True)
            own = replace(settings, learning_rate=_RATE * _RATES[: len(problems)])
            stacked = [np.stack(pair) for pair in pairs]
            judge = StepJudge(context, subject.problem, own, stacked, batches, learner)
            yield from judge.findings(STEPS)


def course(context: Context, problem: Problem, rng: np.random.Generator) -> Iterator[Check]:
    """Judge every step of long runs, by every optimiser and engine.

    In float32 by backpropagation alone: what goes on from step to step is the optimiser's, and
    engines have no other program there.
    """
    batches, subject = _batches(problem, COURSE, rng), JudgedSubject(context.backend, problem)
    for optimiser in (Sgd(), Adam()):
        rule = optimiser.optimiser
        learner = TrainingSettings("loss", optimiser, _RATE, _SCALE)
        yield from _alone(context, problem, learner, batches, f"BP, {rule}")
        for engine in subject.engines if subject.dtype == "float64" else []:
            inference = ask_for(engine, subject.judge).settings
            if isinstance(inference, IterativeInference):
                update: dict[str, Any] = {"max_steps": _BUDGET_OF_COURSE, "record": False}
                inference = inference.model_copy(update=update)
            learner = TrainingSettings("energy", optimiser, _RATE, _SCALE, inference)
            yield from _alone(context, problem, learner, batches, f"PC by {engine}, {rule}")


def _batches(problem: Problem, steps: int, rng: np.random.Generator) -> Int[np.ndarray, "T N"]:
    samples = len(problem.x)
    return rng.integers(0, samples, (steps, max(1, samples // 2)))


def _alone(
    context: Context,
    problem: Problem,
    settings: TrainingSettings,
    batches: Int[np.ndarray, "T N"],
    label: str,
) -> Iterator[Check]:
    """Judge every step of a run without replicas."""
    lent = copy(context)
    lent.backend = _OneReplica(context.backend)
    parameters = [parameter[None] for parameter in problem.parameters]
    judge = StepJudge(lent, problem, settings, parameters, batches, label)
    yield from judge.findings(len(batches))


def learners(
    subject: JudgedSubject, problems: Sequence[Problem], *, adam: bool, turn: int = 0
) -> Iterator[tuple[str, TrainingSettings]]:
    """Return by which rules to train: backpropagation, and predictive coding where it can infer.

    Engines take turns; ``ode`` has none where there is another, for its replicas may share a step
    size, and then none learns as it would alone. A step is judged wherever inference ends, after
    a small budget.
    """
    optimiser = Adam() if adam else Sgd()
    yield "BP", TrainingSettings("loss", optimiser, _RATE, _SCALE)
    known = subject.engines
    engines = [engine for engine in known if engine != "ode"] or known
    if not engines:
        return
    engine = engines[turn % len(engines)]
    inference = of_all([ask_for(engine, subject.at(one).judge) for one in problems]).settings
    if not isinstance(inference, ExactInference):
        update: dict[str, Any] = {"residual": _RESIDUAL, "max_steps": _BUDGET}
        if isinstance(inference, GaussNewtonInference):
            update["record"] = False
        inference = inference.model_copy(update=update)
    yield "PC", TrainingSettings("energy", optimiser, _RATE, _SCALE, inference)


class _OneReplica(Backend[Any]):
    """A backend whose models have no axis of replicas, seen as if they had one of a single entry.

    Answers get the axis as they come to the host, and parameters lose it as they leave.
    """

    name = "one replica"

    def __init__(self, lone: Backend[Any]) -> None:
        super().__init__(lone.device, lone.dtype)
        self._lone = lone

    def build(self, network: NetworkSpec, parameters: Sequence[Array]) -> Model[Any]:
        return self._lone.build(network, [parameter[0] for parameter in parameters])

    def trainer(self, *question: Any) -> Trainer[Any]:
        return _OneReplicaTrainer(self._lone.trainer(*question))

    def to_device(self, array: Array) -> Any:
        return self._lone.to_device(array)

    def to_host(self, array: Any) -> Array:
        return self._lone.to_host(array)[None]

    def describe(self) -> dict[str, Any]:
        return self._lone.describe()


class _OneReplicaTrainer(Trainer[Any]):
    """A trainer whose parameters and records get the axis."""

    def __init__(self, lone: Trainer[Any]) -> None:
        self._lone = lone

    @property
    def model(self) -> Model[Any]:  # type: ignore[override] # it moves on with every run
        return self._lone.model

    def run(self, *question: Any, **more: Any) -> Record:
        record = self._lone.run(*question, **more)
        own = {field.name for field in fields(record)} - {"recorded", "inference_steps"}
        return replace(record, **{name: np.expand_dims(getattr(record, name), 1) for name in own})

    def parameters(self) -> list[Array]:
        return [parameter[None] for parameter in self._lone.parameters()]

    def keep(self, replicas: Sequence[int]) -> None:
        self._lone.keep(replicas)
