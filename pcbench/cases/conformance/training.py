"""Whether trainers take the steps that they should, with replicas and without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pcbench.case import Context
from pcbench.cases.conformance.inference.engines import ask_for, of_all
from pcbench.cases.conformance.offered import offered
from pcbench.checks import Check
from pcbench.contract import (
    Adam,
    Backend,
    Capability,
    DType,
    ExactInference,
    GaussNewtonInference,
    InferenceSettings,
    Model,
    Record,
    Sgd,
    Trainer,
    TrainingSettings,
)
from pcbench.judges.answers import Array
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.training.step_judge import StepJudge
from pcbench.networks import NetworkSpec

STEPS = 3
_RATE, _SCALE = 0.01, 0.5
# Replicas learn at rates of their own.
_RATES = np.array([1.0, 3.0, 0.5])
# A residual that is reached in a few steps, and a budget for where it is not.
_RESIDUAL, _BUDGET = 1e-3, 20


def training(
    context: Context, problems: Sequence[Problem], rng: np.random.Generator, *, turn: int
) -> Iterator[Check]:
    """Judge the first steps of backpropagation and of predictive coding.

    Parameters
    ----------
    context
        Lends the backend.
    problems
        The same network and samples at different points: a replica each, where there are any; the
        first is trained alone, too.
    rng
        Draws batches.
    turn
        A number: if it is even, Adam is the optimiser, else gradient descent; engines take turns.
    """
    backend, (first, *_) = context.backend, problems
    samples = len(first.x)
    batches = rng.integers(0, samples, (STEPS, max(1, samples // 2)))
    for learner, settings in learners(backend, problems, adam=turn % 2 == 0, turn=turn):
        parameters = [parameter[None] for parameter in first.parameters]
        judge = StepJudge(
            without_replicas(context), first, settings, parameters, batches, f"{learner} alone"
        )
        yield from judge.findings(STEPS)
        if Capability.REPLICAS in backend.capabilities:
            stacked = [
                np.stack(each) for each in zip(*(p.parameters for p in problems), strict=True)
            ]
            own = replace(settings, learning_rate=_RATE * _RATES[: len(problems)])
            judge = StepJudge(context, first, own, stacked, batches, learner)
            yield from judge.findings(STEPS)


def learners(
    backend: Backend[Any], problems: Sequence[Problem], *, adam: bool, turn: int = 0
) -> Iterator[tuple[str, TrainingSettings]]:
    """Return by which rules to train: backpropagation, and predictive coding where it can infer.

    Engines take turns; ``ode`` has none where there is another, for its replicas may share a step
    size, and then none learns as it would alone.
    """
    optimiser = Adam() if adam else Sgd()
    yield "BP", TrainingSettings("loss", optimiser, _RATE, _SCALE)
    known = offered(backend, problems[0])
    engines = [engine for engine in known if engine != "ode"] or known
    if engines:
        inference = _short(engines[turn % len(engines)], problems, backend.dtype)
        yield "PC", TrainingSettings("energy", optimiser, _RATE, _SCALE, inference)


def _short(engine: str, problems: Sequence[Problem], dtype: DType) -> InferenceSettings:
    """Return an engine's settings, with a small budget: a step is judged wherever it ends."""
    each = [ask_for(engine, InferenceJudge(problem, dtype)) for problem in problems]
    settings = of_all(each).settings
    if isinstance(settings, ExactInference):
        return settings
    update: dict[str, Any] = {"residual": _RESIDUAL, "max_steps": _BUDGET}
    if isinstance(settings, GaussNewtonInference):
        update["record"] = False
    return settings.model_copy(update=update)


def without_replicas(context: Context) -> Context:
    """Return the context with its backend seen as if its models had an axis of one replica."""
    lent = copy(context)
    lent.backend = OneReplica(context.backend)
    return lent


class OneReplica(Backend[Any]):
    """A backend whose models have no axis of replicas, seen as if they had one of a single entry.

    Answers get the axis as they come to the host, and parameters lose it as they leave.
    """

    name = "one replica"

    def __init__(self, backend: Backend[Any]) -> None:
        super().__init__(backend.device, backend.dtype)
        self._backend = backend

    def build(self, network: NetworkSpec, parameters: Sequence[Array]) -> Model[Any]:
        """Build the model without the axis."""
        return self._backend.build(network, [parameter[0] for parameter in parameters])

    def trainer(self, *question: Any) -> Trainer[Any]:
        """Begin to train."""
        return _OneReplicaTrainer(self._backend.trainer(*question))

    def to_device(self, array: Array) -> Any:
        """Stage a batch, which has no such axis."""
        return self._backend.to_device(array)

    def to_host(self, array: Any) -> Array:
        """Bring an answer, with the axis."""
        return self._backend.to_host(array)[None]

    def describe(self) -> dict[str, Any]:
        """Describe the backend."""
        return self._backend.describe()


class _OneReplicaTrainer(Trainer[Any]):
    """A trainer whose parameters and records get the axis."""

    def __init__(self, trainer: Trainer[Any]) -> None:
        self._trainer = trainer

    @property
    def model(self) -> Model[Any]:  # type: ignore[override] # it moves on with every run
        """The network as it is now."""
        return self._trainer.model

    def run(
        self, steps: int, batches: Int[np.ndarray, "T *#R N"] | None = None, every: int = 1
    ) -> Record:
        """Take steps."""
        record = self._trainer.run(steps, batches, every)
        shared = ("recorded", "inference_steps")
        return Record(
            **{
                field.name: value if field.name in shared else np.expand_dims(value, 1)
                for field in fields(record)
                for value in [getattr(record, field.name)]
            }
        )

    def parameters(self) -> list[Float[np.ndarray, "*R ..."]]:
        """Bring parameters, with the axis."""
        return [parameter[None] for parameter in self._trainer.parameters()]

    def keep(self, replicas: Sequence[int]) -> None:
        """Never asked of one."""
        self._trainer.keep(replicas)
