"""What Theorem 1 expects of a backend at one batch of a linear network, beside its own account."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pcbench import checks
from pcbench.checks import Check
from pcbench.contract import DType, InferenceSettings, IterativeInference
from pcbench.judges.answers import Evaluation, InferenceResult, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.reported import (
    CONTRACT,
    DEFINITION,
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
from pcbench.theory.rounding.bounds import unfinished_inference, unit_roundoff
from pcbench.theory.rounding.perturbation import (
    EquilibriumRounding,
    equilibrium_rounding,
    loss_gradient_rounding,
)

THEOREM_1 = "Theorem 1 (theory.md 2.1)"
ENVELOPE = "Theorem 1 differentiated; envelope theorem (theory.md 2.1)"
LOCAL = "-(1/N) e_lᵀ z_{l-1} at the activities reached (theory.md 2.2)"


class TheoremJudge:
    """What the theory demands of an answer about one batch, and how closely.

    Parameters
    ----------
    problem
        The batch and the network, in numbers that fit the dtype.
    settings
        How the backend was asked to infer: gradient inference may stop at its residual.
    dtype
        The backend's.

    Attributes
    ----------
    theorem_1
        ``𝓕*``.
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
        yield from self._energy(result, answers)
        yield from self._bounds(result, answers)
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

    def _energy(self, result: InferenceResult, answers: Evaluation) -> Iterator[Check]:
        name, expected, off = "energy at equilibrium", self.theorem_1, self._rounding.energy
        if self._unfinished is None:
            yield self._expect(THEOREM_1).approx(name, result.energy, expected, off)
        else:
            most = expected + self._unfinished.energy
            source = f"{THEOREM_1}; the residual leaves at most ‖ρ‖²/(2N λ_min(H_z)) (2.3)"
            yield self._expect(source).within(name, result.energy, (expected, most), off)
        by_definition = self._judge.energies(result)
        for how, energies in (
            ("as inference has them", result.energies),
            ("at the same activities", answers.energies),
        ):
            yield self._expect(DEFINITION).all_close(
                "energy of each layer", energies, by_definition, off, ["layer"], how
            )

    def _bounds(self, result: InferenceResult, answers: Evaluation) -> Iterator[Check]:
        off, loss = self._rounding.energy, equilibrium.loss(self._weights, self._x, self._y)
        yield from _forward(self._problem, self._rounding, self._judge.u, answers)
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
        local = self._judge.gradients(result)
        yield from self._expect(LOCAL).distances(
            "local gradients", observed, local, rounding.tolist(), names
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
        yield expect.approx("reported residual", reported, residual, rounding.residual)
        few_roundings = "a few roundings: what was asked for is reached or it is not"
        within_budget = Basis(UNFINISHED, few_roundings).at_most(
            "residual within the budget",
            reported,
            self._residual,
            4 * self._judge.u * self._residual,
        )
        yield self._in_time(result, within_budget)

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
    problem, u = subject.problem, unit_roundoff(subject.backend.dtype)
    rounding = equilibrium_rounding(problem.weights, problem.x, problem.y, u)
    answers = Evaluation(subject.predict(problem.x), subject.loss(), [], np.empty(0), [])
    yield from _forward(problem, rounding, u, answers)


def _forward(
    problem: Problem, rounding: EquilibriumRounding, u: float, answers: Evaluation
) -> Iterator[Check]:
    """Hold loss and prediction against their definitions."""
    weights, x, y = problem.weights, problem.x, problem.y
    expect = Basis(DEFINITION, _derivation(u))
    yield expect.all_close("loss", answers.loss, equilibrium.loss(weights, x, y), rounding.loss)
    predicted = y - residuals(weights, x, y)
    yield expect.distance("prediction", answers.prediction, predicted, rounding.prediction)


def _derivation(u: float) -> str:
    return f"rounding at u = {u:.2g} through this network (theory.md 4)"
