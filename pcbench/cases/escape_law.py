"""How escape times grow as the initial weights shrink: the law that tells strict from non-strict.

Backpropagation leaves the origin of a network with two hidden layers or more in a time like a power
of ``1/σ``, predictive coding in one like a power of ``ln(1/σ)``. Both are fitted to runs from
scales over a factor of 30 and more, every scale and seed a replica of one trainer, and held against
theory.md 2.7; runs of linear networks also, step by step, against descent in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from pcbench import checks, theory
from pcbench.backends import (
    Capability,
    ExactInference,
    InferenceSettings,
    Objective,
    Sgd,
    TrainingSettings,
)
from pcbench.cases import _law_fits as fits
from pcbench.cases._law_checks import Unresolved, judged, missing_power, replayed
from pcbench.cases._law_runs import Escapes, Replicas, leave, scaled_draws
from pcbench.cases._problem import Problem
from pcbench.cases._relaxed import needs
from pcbench.cases._training import LEARNERS
from pcbench.cases.base import Case, CaseParameters, CaseSkippedError, Columns, Context, Finding
from pcbench.checks import Check, Tolerance
from pcbench.data import DataField
from pcbench.networks import InitialisationField, NearOrigin, NetworkParameters

SOURCE = "leaving the origin: rates and laws (theory.md 2.7)"
LEAST_SPAN = 30
HALF_WAY = 0.5
"""To the next power of ``1/σ``."""


class LawNetwork(NetworkParameters):
    """A network whose origin is a saddle of both objectives; its scale is what is varied."""

    activation: Literal["identity", "tanh"] = "identity"
    bias: Literal[False] = False
    initialisation: InitialisationField = NearOrigin()

    @model_validator(mode="after")
    def _starts_near_an_origin(self) -> LawNetwork:
        if self.initialisation != NearOrigin():
            raise ValueError("weights are σ times a normal draw; leave initialisation to scales")
        if self.convolutions or not self.hidden:
            raise ValueError(
                "this kind takes fully connected networks, of one hidden layer or more"
            )
        return self


class Scales(BaseModel):
    """Standard deviations ``σ`` of the initial weights, in one ratio."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    largest: PositiveFloat = 0.3
    smallest: PositiveFloat = 0.01
    count: int = Field(7, ge=fits.LEAST_SCALES)
    further: int = Field(
        12,
        ge=0,
        description="More scales, going on in the same ratio, for who leaves in logarithmic time: "
        "PC, and BP with one hidden layer.",
    )

    @model_validator(mode="after")
    def _span_enough(self) -> Scales:
        # One part in a thousand: 0.3 over 0.01 is a bit less than 30 in binary.
        if self.largest < LEAST_SPAN * self.smallest * 0.999:
            raise ValueError(
                f"scales from {self.largest:g} to {self.smallest:g} span less than a factor of "
                f"{LEAST_SPAN}, on which no law can be told from another; make smallest at most "
                f"{self.largest / LEAST_SPAN:.2g}"
            )
        return self

    @property
    def ratio(self) -> float:
        """``ρ``, of one scale to the next."""
        return float((self.largest / self.smallest) ** (1 / (self.count - 1)))

    def all(self, *, further: bool) -> Float[np.ndarray, " scales"]:
        """Return the scales, the largest first."""
        return self.largest * self.ratio ** -np.arange(self.count + further * self.further)


class LawTraining(BaseModel):
    """Gradient descent on all samples at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: PositiveFloat = 0.1
    max_steps: PositiveInt = Field(300_000, description="After so many, a run is given up.")


class Parameters(CaseParameters):
    """What a suite may write under ``kind: escape_law``."""

    data: DataField
    network: LawNetwork
    scales: Scales = Scales()
    seeds: int = Field(5, ge=5, description="Draws of the initial weights, each at every scale.")
    fraction: float = Field(
        0.5, gt=0, lt=1, description="Of loss or energy at the start, by which it is to fall."
    )
    training: LawTraining = LawTraining()
    inference: InferenceSettings = ExactInference()


@dataclass(frozen=True, slots=True)
class Left:
    """A learner's runs."""

    learner: str
    objective: Objective
    scales: Float[np.ndarray, " scales"]
    weights: Replicas
    escapes: Escapes


class EscapeLaw(Case[Parameters]):
    """Escape times of both learners against the scale of the initial weights."""

    kind: ClassVar[str] = "escape_law"
    description: ClassVar[str] = (
        "escape times from near the origin against the scale of the initial weights: a power law "
        "for BP, a power of the logarithm for PC, with fitted exponents"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[Capability]:
        """Return what training replicas with this inference needs."""
        asked = self.parameters
        return needs(asked.network, {"PC": asked.inference}) | {
            Capability.TRAINING,
            Capability.REPLICAS,
        }

    def run(self, context: Context) -> Iterator[Finding]:
        """Let both learners leave, and fit what the theory says of each."""
        asked = self.parameters
        problem = Problem.pose(context, asked.data, asked.network)
        share = theory.leading_share(problem.x, problem.y)
        if share <= asked.fraction:
            raise CaseSkippedError(
                f"one direction can take away {share:.3g} of the loss, and the laws are about the "
                f"first to leave; make fraction less than that, {share / 2:.2g} say"
            )
        open_questions: list[Unresolved] = []
        learners = list(LEARNERS.items())
        for learner, objective in context.progress("learners", learners, len(learners)):
            left = self._leave(context, problem, learner, objective)
            yield from self._series(left)
            yield from replayed(
                problem,
                left.weights,
                left.escapes,
                context.backend.dtype,
                learner,
                objective,
                exact=isinstance(asked.inference, ExactInference) or objective == "loss",
                step=asked.training.learning_rate,
                fraction=asked.fraction,
                max_steps=asked.training.max_steps,
            )
            for found in self._laws(problem, left):
                if isinstance(found, Unresolved):
                    open_questions.append(found)
                else:
                    yield found
        if open_questions:
            raise CaseSkippedError(
                f"these runs are too few, too short or not near enough to the origin for "
                f"{', '.join(map(str, open_questions))}; take smaller scales or more of them "
                "(scales.further), or a smaller training.learning_rate"
            )

    def _leave(
        self, context: Context, problem: Problem, learner: str, objective: Objective
    ) -> Left:
        asked = self.parameters
        quick = objective == "energy" or theory.escape_exponent(problem.network.n_layers) == 0
        scales = asked.scales.all(further=quick)
        weights = scaled_draws(context, problem, scales, asked.seeds)
        settings = TrainingSettings(
            objective, Sgd(), asked.training.learning_rate, inference=asked.inference
        )
        escapes = leave(
            context, problem, weights, settings,
            seeds=asked.seeds, fraction=asked.fraction, max_steps=asked.training.max_steps,
        )  # fmt: skip
        return Left(learner, objective, scales, weights, escapes)

    def _laws(self, problem: Problem, left: Left) -> Iterator[Check | Unresolved]:
        """Fit the scales that every seed left from."""
        complete = left.escapes.everywhere
        if complete < fits.LEAST_SCALES:
            raise CaseSkippedError(
                f"{left.learner} left from {complete} scales with every seed, counted from the "
                f"largest, and a fit needs {fits.LEAST_SCALES}; raise training.max_steps, or, where "
                "runs from the largest scale diverge, make it smaller"
            )
        loss, energy = left.escapes.loss[:complete], left.escapes.energy[:complete]
        power = theory.escape_exponent(problem.network.n_layers)
        if left.objective == "energy":
            yield self._in_logarithmic_time(problem, left, "energy", energy)
        if power == 0:
            yield self._in_logarithmic_time(problem, left, "loss", loss)
        elif left.objective == "loss":
            bounds = fits.power(loss, self.parameters.scales.ratio)
            yield judged("BP: power of 1/σ", bounds, power, HALF_WAY, source=SOURCE)
        else:
            yield from self._slowed_down(problem, left.scales[:complete], loss)

    def _in_logarithmic_time(
        self,
        problem: Problem,
        left: Left,
        what: Objective,
        times: Float[np.ndarray, "scales seeds"],
    ) -> Check | Unresolved:
        """Hold the steps per e-fold of the scale against the rate at the origin."""
        layers = problem.network.n_layers
        rates = theory.escape_rates(problem.x, problem.y, layers, left.objective)
        gap = float(1 - rates[1] / rates[0]) if len(rates) > 1 else 1.0
        expected = theory.steps_per_e_fold(rates[0], self.parameters.training.learning_rate)
        return judged(
            f"{left.learner}: steps of the {what} per e-fold of 1/σ",
            fits.slope(times, self.parameters.scales.ratio, gap),
            expected,
            expected / 3,  # so that half of it is not within reach of all of it
            source=SOURCE,
        )

    def _slowed_down(
        self,
        problem: Problem,
        scales: Float[np.ndarray, " scales"],
        loss: Float[np.ndarray, "scales seeds"],
    ) -> Iterator[Check | Unresolved]:
        """Hold PC's loss against a power of the logarithm, and against BP's power law."""
        layers = problem.network.n_layers
        kappa = float(theory.logarithmic_exponent(layers))
        yield judged(
            "PC: power of ln(1/σ)",
            fits.logarithmic_power(loss),
            kappa,
            kappa / 2,  # a power of 1/σ has none at all
            source=SOURCE,
            missing=2 * missing_power(problem, fits.at_thirds(scales), self.parameters.fraction),
        )
        local = fits.local_power(loss, self.parameters.scales.ratio)
        yield checks.below(
            "PC: power of 1/σ at the smallest scales",
            float(np.median((local.lower + local.upper) / 2)),
            theory.escape_exponent(layers) / 2,
            Tolerance(float(np.max(local.upper - local.lower) / 2), "whole steps"),
            source=f"{SOURCE}: half of BP's power",
        )

    def _series(self, left: Left) -> Iterator[Columns]:
        measured = {"loss": left.escapes.loss}
        if left.objective == "energy":
            measured["energy"] = left.escapes.energy
        for what, times in measured.items():
            columns = {"scale": left.scales.tolist()}
            for seed, column in enumerate(times.T, start=1):
                columns[f"steps, seed {seed}"] = column.tolist()
            yield Columns(f"{left.learner}: escape of the {what}", columns)
