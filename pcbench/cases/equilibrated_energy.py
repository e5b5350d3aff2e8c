"""Figure 1 of the paper: the energy that inference reaches is the one that Theorem 1 predicts.

At initialisation and at every step of a training run by predictive coding, energy, weight gradients
and activities at the end of inference are held against the closed forms of ``theory``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from pcbench import checks
from pcbench.case import Case, CaseParameters, Columns, Context, Finding
from pcbench.checks import Check
from pcbench.contract import DType, ExactInference, InferenceSettings, IterativeInference
from pcbench.data import DataField
from pcbench.judges import reported
from pcbench.judges.answers import Evaluation, InferenceResult, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import LinearNetwork, Problem, rounded
from pcbench.judges.reported import DEFINITION, EDGE
from pcbench.theory.linear import equilibrium
from pcbench.theory.linear.equilibrium import equilibrated_energy_gradient
from pcbench.theory.rounding.bounds import unfinished_inference
from pcbench.theory.rounding.perturbation import loss_gradient_rounding
from pcbench.theory.rounding.undecidable import UndecidableError

THEOREM_1 = "Theorem 1 (theory.md 2.1)"
ENVELOPE = "Theorem 1 differentiated; envelope theorem (theory.md 2.1)"
LOCAL = "-(1/N) e_lᵀ z_{l-1} at the activities reached (theory.md 2.2)"
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8

Array = Float[np.ndarray, "..."]


class TheoremJudge:
    """What the theory demands of an answer about one batch, and how closely.

    ``settings`` say how the backend was asked to infer: gradient inference may stop at its
    residual.
    """

    def __init__(self, problem: Problem, settings: InferenceSettings, dtype: DType) -> None:
        self._problem, self._settings = problem, settings
        self._at = problem.weights, problem.x, problem.y
        self._layers = reported.layers(len(problem.weights))
        self.judge = InferenceJudge(problem, dtype)
        self._rounding, self._derivation = self.judge.exact_rounding, _derivation(self.judge.u)
        self._unfinished, self._residual = None, 0.0
        if isinstance(settings, IterativeInference):
            # Where rounding is more than what was asked for, it is all that can be had.
            self._residual = max(settings.residual * self.judge.start, self._rounding.residual)
            self._unfinished = unfinished_inference(*self._at, self._residual)
            self._derivation += f"; residual {self._residual:.2g} asked for"
        self.theorem_1 = equilibrium.equilibrated_energy(*self._at)

    def checks(self, result: InferenceResult, answers: Evaluation | None) -> Iterator[Check]:
        """Hold the answers against the theory; what is not even well-formed, against that."""
        form = self.judge.form("", result, self._settings)
        if form.passed and answers is not None:
            form = reported.well_formed(form.name, answers.due(self._problem))
        yield form
        if not form.passed or answers is None:
            return
        exact, layers = self._rounding, len(self._layers)
        energies, gradients, residual = (exact.energy,) * layers, exact.gradients, exact.residual
        if self._unfinished is not None:
            # Far from equilibrium, where inference may stop early, other numbers round.
            there = self.judge.rounding(result)
            energies, gradients, residual = there.energies, there.gradients, there.residual
        yield from self._values(result, answers, energies)
        yield from self._gradients(result, answers, gradients)
        yield from self._activities(result, residual)

    def backpropagation(self, answers: Evaluation) -> Iterator[Check]:
        """Hold the gradients of the loss against theirs."""
        seen, expected = answers.loss_gradients, equilibrium.loss_gradient(*self._at)
        off, expect = loss_gradient_rounding(*self._at, self.judge.u), self._expect(DEFINITION)
        yield from expect.distances("gradients of the loss", seen, expected, off, self._layers)

    def _values(
        self, result: InferenceResult, answers: Evaluation, each: Sequence[float]
    ) -> Iterator[Check]:
        expected, off, left = self.theorem_1, self._rounding.energy, 0.0
        name, energy, expect = "energy at equilibrium", result.energy, self._expect(THEOREM_1)
        if self._unfinished is None:
            yield expect.approx(name, energy, expected, off)
        else:
            left = self._unfinished.energy
            source = f"{THEOREM_1}; the residual leaves at most ‖ρ‖²/(2N λ_min(H_z)) (2.3)"
            yield self._expect(source).within(name, energy, (expected, expected + left), off)
        by_definition = self.judge.energies(result)
        for how, energies in (
            ("as inference has them", result.energies),
            ("at the same activities", answers.energies),
        ):
            yield Basis(DEFINITION, self._derivation, how).each_close(
                "energy of each layer", energies, by_definition, each, self._layers
            )
        yield from _forward(self.judge, answers.loss, answers.prediction)
        loss = equilibrium.loss(*self._at)
        least = loss / equilibrium.output_covariance_norm(self._problem.weights)
        yield expect.at_least("energy ≥ loss/λ_max(S)", energy, least, off)
        yield expect.at_most("energy ≤ loss", energy, loss + left, off)

    def _gradients(
        self, result: InferenceResult, answers: Evaluation, local_off: Sequence[float]
    ) -> Iterator[Check]:
        observed, off = answers.energy_gradients, np.array(self._rounding.gradients)
        if self._unfinished is not None:
            off = off + self._unfinished.gradients
        for source, name, expected, bounds in (
            (ENVELOPE, "weight gradients", equilibrated_energy_gradient(*self._at), off.tolist()),
            (LOCAL, "local gradients", self.judge.gradients(result), local_off),
        ):
            expect = self._expect(source)
            yield from expect.distances(name, observed, expected, bounds, self._layers)

    def _activities(self, result: InferenceResult, off: float) -> Iterator[Check]:
        """Check clamps, residuals, and what inference says of itself."""
        expect, judge, settings = self._expect(reported.STATIONARITY), self.judge, self._settings
        _, x, y = self._at
        input_off, axes = judge.u * (1 + float(np.abs(x).max())), ["sample", "input"]
        yield expect.all_close("clamped input", result.activities[0], x, input_off, axes)
        yield expect.distance("clamped output", result.activities[-1], y, self._rounding.output)
        residual, rounding = judge.force(result), self._rounding.residual
        hidden = expect.at_most("hidden residual", residual, self._residual, rounding)
        yield reported.budget_spent(hidden, settings, result, float(result.residual))
        reached, fewest, most = bool(result.residual <= 1.0), 0, 0
        if isinstance(settings, IterativeInference):
            told, asked = float(result.residual) * judge.start, self._residual
            off += residual / judge.start * judge.forward_rounding.residual
            yield expect.approx("reported residual", told, residual, off)
            few_roundings = "a few roundings: what was asked for is reached or it is not"
            within_budget = Basis(reported.UNFINISHED, few_roundings).at_most(
                "residual within the budget", told, asked, 4 * judge.u * asked
            )
            yield reported.budget_spent(within_budget, settings, result, float(result.residual))
            fewest, most = int(judge.start > 2 * asked), settings.max_steps
            reached = reported.arrived(settings, result.residual, result.sample_residuals)
        yield reported.as_reported("converged as reported", result.converged, reached)
        name, tolerance = "steps of inference", reported.counted("steps")
        steps = result.steps, (fewest, most)
        yield checks.within(name, *steps, tolerance, source=reported.CONTRACT)

    def _expect(self, source: str) -> Basis:
        return Basis(source, self._derivation)


def _forward(judge: InferenceJudge, loss: Array, prediction: Array) -> Iterator[Check]:
    """Hold loss and prediction, which need no inverse of ``S``, against their definitions."""
    weights, x, y = judge.problem.weights, judge.problem.x, judge.problem.y
    expect, rounding = Basis(DEFINITION, _derivation(judge.u)), judge.exact_rounding
    yield expect.all_close("loss", loss, equilibrium.loss(weights, x, y), rounding.loss)
    predicted = y - equilibrium.residuals(weights, x, y)
    yield expect.distance("prediction", prediction, predicted, rounding.prediction)


def _derivation(u: float) -> str:
    return f"rounding at u = {u:.2g} through this network (theory.md 4)"


class Training(CaseParameters):
    """Training by predictive coding, with Adam, as in figure 1."""

    steps: NonNegativeInt = Field(100, description="0 checks the initial weights alone.")
    learning_rate: PositiveFloat = 1e-3
    batch: PositiveInt = Field(64, description="Samples in a step; at most data.samples.")


class Parameters(CaseParameters):
    """What a suite may write under ``kind: equilibrated_energy``."""

    data: DataField
    network: LinearNetwork
    inference: InferenceSettings = ExactInference()
    training: Training = Training()

    def contradictions(self) -> Iterator[str]:
        """Say which settings do not fit together."""
        if self.training.batch > self.data.samples:
            yield (
                f"training.batch is {self.training.batch} but data.samples only "
                f"{self.data.samples}; raise data.samples or lower training.batch"
            )


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
        weights, worst = problem.weights, checks.Worst()
        moments = [(np.zeros_like(weight), np.zeros_like(weight)) for weight in weights]
        path: list[tuple[float, ...]] = []
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
                    answered = subject.loss(), subject.predict(batch.x)
                    found = _forward(InferenceJudge(batch, backend.dtype), *answered)
                    worst.add(*(check.at("step 0") for check in found))
                break
            theorem, result = (
                TheoremJudge(batch, inference, backend.dtype),
                subject.infer(inference),
            )
            judge, answers = theorem.judge, None
            # Activities of other shapes would not be judged but break whatever is asked of them.
            if [activity.shape for activity in result.activities] == judge.shapes:
                answers = subject.evaluate(judge.clamped(result))
            verdicts = list(theorem.checks(result, answers))
            if answers and not step:
                verdicts += theorem.backpropagation(answers)
            worst.add(*(check.at(f"step {step}") for check in verdicts))
            if not answers:
                break
            path.append((step, answers.loss.sum(), result.energy, theorem.theorem_1))
            if not checks.all_passed(verdicts):
                break  # where wrong gradients lead proves nothing more
            gradients, rate = answers.energy_gradients, training.learning_rate
            weights = rounded(adam(weights, gradients, moments, rate, step + 1), backend.dtype)
        yield from worst
        yield Columns.of_rows("training", ("step", "loss", "energy", "theorem 1"), path)

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


def adam(
    weights: Sequence[Array],
    gradients: Sequence[Array],
    moments: Sequence[tuple[Array, Array]],
    rate: float,
    steps: int,
) -> list[Array]:
    """Return the weights after step number ``steps``, from 1; moments are changed in place.

    Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1, with its default decay rates: on the host and
    in float64, so that no backend needs an optimiser to be judged, and all walk the same path where
    their gradients agree.
    """
    rate, scale = rate / (1 - _BETA_1**steps), 1 / np.sqrt(1 - _BETA_2**steps)
    updated = []
    for weight, gradient, (mean, square) in zip(weights, gradients, moments, strict=True):
        mean *= _BETA_1
        mean += (1 - _BETA_1) * gradient
        square *= _BETA_2
        square += (1 - _BETA_2) * gradient**2
        updated.append(weight - rate * mean / (scale * np.sqrt(square) + _EPSILON))
    return updated
