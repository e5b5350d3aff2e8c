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
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from pcbench import checks
from pcbench.case import Case, CaseParameters, Columns, Context, Finding
from pcbench.checks import Check
from pcbench.contract import DType, ExactInference, InferenceSettings, IterativeInference
from pcbench.data import DataField
from pcbench.judges.answers import Evaluation, InferenceResult, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import LinearNetwork, Problem, rounded
from pcbench.judges.reported import (
    CONTRACT,
    DEFINITION,
    EDGE,
    STATIONARITY,
    UNFINISHED,
    arrived,
    as_reported,
    budget_spent,
    counted,
    layers,
    well_formed,
)
from pcbench.theory.linear import equilibrium
from pcbench.theory.linear.equilibrium import (
    equilibrated_energy,
    equilibrated_energy_gradient,
    loss_gradient,
    output_covariance_norm,
    residuals,
)
from pcbench.theory.rounding.bounds import unfinished_inference
from pcbench.theory.rounding.perturbation import (
    loss_gradient_rounding,
)
from pcbench.theory.rounding.range import UndecidableError

THEOREM_1 = "Theorem 1 (theory.md 2.1)"
ENVELOPE = "Theorem 1 differentiated; envelope theorem (theory.md 2.1)"
LOCAL = "-(1/N) e_lᵀ z_{l-1} at the activities reached (theory.md 2.2)"


_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8

Array = Float[np.ndarray, "_out _inp"]


class TheoremJudge:
    """What the theory demands of an answer about one batch, and how closely.

    ``settings`` say how the backend was asked to infer: gradient inference may stop at its
    residual.
    """

    def __init__(self, problem: Problem, settings: InferenceSettings, dtype: DType) -> None:
        self._problem, self._settings = problem, settings
        self._weights, self._x, self._y = problem.weights, problem.x, problem.y
        self._judge = InferenceJudge(problem, dtype)
        self._rounding = self._judge.exact_rounding
        self._derivation = _derivation(self._judge.u)
        self._unfinished = None
        self._residual = 0.0
        if isinstance(settings, IterativeInference):
            # Where rounding is more than what was asked for, it is all that can be had.
            self._residual = max(settings.residual * self._judge.start, self._rounding.residual)
            self._unfinished = unfinished_inference(self._weights, self._x, self._y, self._residual)
            self._derivation += f"; residual {self._residual:.2g} asked for"
        self.theorem_1 = equilibrated_energy(self._weights, self._x, self._y)

    def evaluate(self, subject: Subject, result: InferenceResult) -> Evaluation | None:
        """Ask about the activities reached, the output clamped; where they are malformed, nothing.

        Activities of other shapes would not be judged but break whatever is asked of them.
        """
        if [activity.shape for activity in result.activities] != self._judge.shapes:
            return None
        return subject.evaluate(self._judge.clamped(result))

    def checks(self, result: InferenceResult, answers: Evaluation | None) -> Iterator[Check]:
        """Hold the answers against the theory; what is not even well-formed, against that."""
        form = self._judge.form("", result, self._settings)
        if form.passed and answers is not None:
            form = well_formed(form.name, answers.due(self._problem))
        yield form
        if not form.passed or answers is None:
            return
        yield from self._values(result, answers)
        yield from self._gradients(result, answers)
        yield from self._activities(result)
        yield from self._reported(result)

    def backpropagation(self, answers: Evaluation) -> Iterator[Check]:
        """Hold the gradients of the loss against theirs."""
        expected = loss_gradient(self._weights, self._x, self._y)
        off = loss_gradient_rounding(self._weights, self._x, self._y, self._judge.u)
        yield from self._expect(DEFINITION).distances(
            "gradients of the loss", answers.loss_gradients, expected, off, layers(len(expected))
        )

    def _values(self, result: InferenceResult, answers: Evaluation) -> Iterator[Check]:
        name, expected, off = "energy at equilibrium", self.theorem_1, self._rounding.energy
        if self._unfinished is None:
            yield self._expect(THEOREM_1).approx(name, result.energy, expected, off)
        else:
            most = expected + self._unfinished.energy
            source = f"{THEOREM_1}; the residual leaves at most ‖ρ‖²/(2N λ_min(H_z)) (2.3)"
            yield self._expect(source).within(name, result.energy, (expected, most), off)
        by_definition = self._judge.energies(result)
        each, _, _ = self._evaluated(result)
        for how, energies in (
            ("as inference has them", result.energies),
            ("at the same activities", answers.energies),
        ):
            yield Basis(DEFINITION, self._derivation, how).each_close(
                "energy of each layer", energies, by_definition, each, layers(len(each))
            )
        yield from _forward(self._judge, answers)
        loss = equilibrium.loss(self._weights, self._x, self._y)
        least = loss / output_covariance_norm(self._weights)
        most = loss + (self._unfinished.energy if self._unfinished else 0.0)
        yield self._expect(THEOREM_1).at_least("energy ≥ loss/λ_max(S)", result.energy, least, off)
        yield self._expect(THEOREM_1).at_most("energy ≤ loss", result.energy, most, off)

    def _gradients(self, result: InferenceResult, answers: Evaluation) -> Iterator[Check]:
        observed, rounding = answers.energy_gradients, np.array(self._rounding.gradients)
        expected = equilibrated_energy_gradient(self._weights, self._x, self._y)
        off = rounding if self._unfinished is None else rounding + self._unfinished.gradients
        names = layers(len(expected))
        yield from self._expect(ENVELOPE).distances(
            "weight gradients", observed, expected, off.tolist(), names
        )
        local, (_, local_off, _) = self._judge.gradients(result), self._evaluated(result)
        yield from self._expect(LOCAL).distances(
            "local gradients", observed, local, local_off, names
        )

    def _activities(self, result: InferenceResult) -> Iterator[Check]:
        expect, rounding = self._expect(STATIONARITY), self._rounding
        yield expect.all_close(
            "clamped input",
            result.activities[0],
            self._x,
            self._judge.u * (1 + float(np.abs(self._x).max())),
            ["sample", "input"],
        )
        yield expect.distance("clamped output", result.activities[-1], self._y, rounding.output)
        residual = self._judge.force(result)
        yield self._in_time(
            result, expect.at_most("hidden residual", residual, self._residual, rounding.residual)
        )
        if self._unfinished is None:
            return
        reported = float(result.residual) * self._judge.start
        _, _, off = self._evaluated(result)
        off += residual / self._judge.start * self._judge.forward_rounding.residual
        yield expect.approx("reported residual", reported, residual, off)
        few_roundings = "a few roundings: what was asked for is reached or it is not"
        within_budget = Basis(UNFINISHED, few_roundings).at_most(
            "residual within the budget",
            reported,
            self._residual,
            4 * self._judge.u * self._residual,
        )
        yield self._in_time(result, within_budget)

    def _evaluated(self, result: InferenceResult) -> tuple[Sequence[float], Sequence[float], float]:
        """Bound the rounding of layers' energies, gradients and the residual where it ended.

        Inference that may stop early may end far from equilibrium, where other numbers round.
        """
        if self._unfinished is None:
            bounds = self._rounding
            return [bounds.energy] * len(bounds.gradients), bounds.gradients, bounds.residual
        there = self._judge.rounding(result)
        return there.energies, there.gradients, there.residual

    def _in_time(self, result: InferenceResult, check: Check) -> Check:
        return budget_spent(check, self._settings, result, float(result.residual))

    def _reported(self, result: InferenceResult) -> Iterator[Check]:
        """Check what inference says of itself: whether it converged, and in how many steps."""
        reached, fewest, most = bool(result.residual <= 1.0), 0, 0
        if isinstance(self._settings, IterativeInference):
            most = self._settings.max_steps
            fewest = int(self._judge.start > 2 * self._residual)
            reached = arrived(self._settings, result.residual, result.sample_residuals)
        yield as_reported("converged as reported", result.converged, reached)
        yield checks.within(
            "steps of inference", result.steps, (fewest, most), counted("steps"), source=CONTRACT
        )

    def _expect(self, source: str) -> Basis:
        return Basis(source, self._derivation)


def without_equilibrium(subject: Subject) -> Iterator[Check]:
    """Judge loss and prediction alone, which need no inverse of ``S``."""
    answers = Evaluation(subject.predict(subject.problem.x), subject.loss(), [], np.empty(0), [])
    yield from _forward(InferenceJudge(subject.problem, subject.backend.dtype), answers)


def _forward(judge: InferenceJudge, answers: Evaluation) -> Iterator[Check]:
    """Hold loss and prediction against their definitions."""
    weights, x, y = judge.problem.weights, judge.problem.x, judge.problem.y
    expect, rounding = Basis(DEFINITION, _derivation(judge.u)), judge.exact_rounding
    yield expect.all_close("loss", answers.loss, equilibrium.loss(weights, x, y), rounding.loss)
    predicted = y - residuals(weights, x, y)
    yield expect.distance("prediction", answers.prediction, predicted, rounding.prediction)


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
        optimiser = Adam(training.learning_rate)
        weights = problem.weights
        worst = checks.Worst()
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
            path.append((step, answers.loss.sum(), result.energy, judge.theorem_1))
            if not checks.all_passed(verdicts):
                break  # where wrong gradients lead proves nothing more
            weights = rounded(optimiser.update(weights, answers.energy_gradients), backend.dtype)
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
