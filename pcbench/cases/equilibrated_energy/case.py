"""Figure 1 of the paper: the energy that inference reaches is the one that Theorem 1 predicts.

At initialisation and at every step of a training run by predictive coding, energy, weight gradients
and activities at the end of inference are held against the closed forms of ``theory``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pcbench import checks
from pcbench.case import Case, CaseParameters, Columns, Context, Finding
from pcbench.cases.equilibrated_energy.equilibrium import TheoremJudge, without_equilibrium
from pcbench.contract import ExactInference, InferenceSettings
from pcbench.data import DataField
from pcbench.judges.answers import Subject
from pcbench.judges.problem import LinearNetwork, Problem, rounded
from pcbench.theory.rounding.range import UndecidableError

EDGE = "what the dtype can hold (theory.md 4)"
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8

Array = Float[np.ndarray, "_out _inp"]


class Training(BaseModel):
    """Training by predictive coding, with Adam, as in figure 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: NonNegativeInt = Field(100, description="0 checks the initial weights alone.")
    learning_rate: PositiveFloat = 1e-3
    batch: PositiveInt = Field(64, description="Samples in a step; at most data.samples.")


class Parameters(CaseParameters):
    """What a suite may write under ``kind: equilibrated_energy``."""

    data: DataField
    network: LinearNetwork
    inference: InferenceSettings = ExactInference()
    training: Training = Training()

    @model_validator(mode="after")
    def _batch_fits(self) -> Parameters:
        if self.training.batch > self.data.samples:
            raise ValueError(
                f"training.batch is {self.training.batch} but data.samples only "
                f"{self.data.samples}; raise data.samples or lower training.batch"
            )
        return self


class EquilibratedEnergy(Case[Parameters]):
    """Energy, gradients and activities at equilibrium against Theorem 1, along training."""

    kind: ClassVar[str] = "equilibrated_energy"
    description: ClassVar[str] = (
        "energy, weight gradients and activities that inference reaches, compared "
        "with Theorem 1 along a training run (figure 1)"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return the capability behind the inference engine."""
        return frozenset({self.parameters.inference.capability})

    def run(self, context: Context) -> Iterator[Finding]:
        """Train, check at every step, and report the comparison nearest its edge of each kind."""
        training, inference = self.parameters.training, self.parameters.inference
        backend = context.backend
        problem = Problem.pose(context, self.parameters.data, self.parameters.network)
        batches = _batches(problem.x, problem.y, training.batch, context.rng("batches"))
        optimiser = Adam(training.learning_rate)
        weights = problem.weights
        worst = checks.Worst()
        path: dict[str, list[float]] = {"step": [], "loss": [], "energy": [], "theorem 1": []}
        for step in context.progress("training", range(training.steps + 1), training.steps + 1):
            batch = Problem(problem.network, weights, *next(batches))
            subject = Subject(backend, batch)
            try:
                batch.demand_range(backend.dtype)
                batch.demand_definite(backend.dtype)
            except UndecidableError as error:
                reason = (
                    f"Training diverged at step {step} at learning rate "
                    f"{training.learning_rate:g}: {error}; lower training.learning_rate."
                    if step
                    else f"The initial weights or the data are too large: {error}; give "
                    "network.initialisation smaller ones."
                )
                worst.add(checks.undecided("training within range", reason, source=EDGE))
                if not step:
                    found = without_equilibrium(subject)
                    worst.add(*(check.at("step 0") for check in found))
                break
            judge, result = TheoremJudge(batch, inference, backend.dtype), subject.infer(inference)
            answers = judge.evaluate(subject, result)
            verdicts = list(judge.checks(result, answers))
            if answers and not step:
                verdicts += judge.backpropagation(answers)
            worst.add(*(check.at(f"step {step}") for check in verdicts))
            if not answers:
                break
            row = (float(step), float(answers.loss.sum()), result.energy, judge.theorem_1)
            for column, value in zip(path.values(), row, strict=True):
                column.append(value)
            if not checks.all_passed(verdicts):
                break  # where wrong gradients lead proves nothing more
            weights = rounded(optimiser.update(weights, answers.energy_gradients), backend.dtype)
        yield from worst
        yield Columns("training", path)

        model, (x, y) = subject.model, subject.batch
        yield context.measure("inference", lambda: model.infer(x, y, inference))
        yield context.measure("gradients of the loss (BP)", lambda: model.loss_gradients(x, y))


def _batches(
    x: Float[np.ndarray, "samples d_0"],
    y: Float[np.ndarray, "samples d_L"],
    size: int,
    rng: np.random.Generator,
) -> Iterator[tuple[Float[np.ndarray, "N d_0"], Float[np.ndarray, "N d_L"]]]:
    """Yield batches without end, the samples shuffled anew in every epoch."""
    while True:
        order = rng.permutation(len(x))
        for start in range(0, len(x) - size + 1, size):
            rows = order[start : start + size]
            yield x[rows], y[rows]


class Adam:
    """Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1, with its default decay rates.

    On the host and in float64, so that no backend needs an optimiser to be judged, and all walk the
    same path where their gradients agree.
    """

    def __init__(self, learning_rate: float) -> None:
        self._rate, self._steps = learning_rate, 0
        self._moments: list[tuple[Array, Array]] = []

    def update(self, weights: Sequence[Array], gradients: Sequence[Array]) -> list[Array]:
        """Return the weights after one step."""
        if not self._steps:
            self._moments = [(np.zeros_like(weight), np.zeros_like(weight)) for weight in weights]
        self._steps += 1
        rate = self._rate / (1 - _BETA_1**self._steps)
        scale = 1 / np.sqrt(1 - _BETA_2**self._steps)
        updated = []
        for weight, gradient, (mean, square) in zip(weights, gradients, self._moments, strict=True):
            mean *= _BETA_1
            mean += (1 - _BETA_1) * gradient
            square *= _BETA_2
            square += (1 - _BETA_2) * gradient**2
            updated.append(weight - rate * mean / (scale * np.sqrt(square) + _EPSILON))
        return updated
