"""Where inference ended, in any network, against the definition of the energy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import zip_longest
from math import inf
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.checks import Check
from pcbench.contract import (
    DType,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    IterativeInference,
)
from pcbench.judges.answers import InferenceResult
from pcbench.judges.basis import Basis
from pcbench.judges.problem import Problem
from pcbench.judges.reported import (
    CONTRACT,
    DEFINITION,
    EDGE,
    STARTS_AT_THE_LOSS,
    STATIONARITY,
    UNFINISHED,
    budget_spent,
    counts_match,
    diverged,
    diverges_in_theory,
    layers,
    reported,
    well_formed,
)
from pcbench.theory.linear.equilibrium import equilibrated_energy
from pcbench.theory.nonlinear import curvature
from pcbench.theory.nonlinear.layered import (
    activity_residuals,
    energy_gradients,
    feedforward,
    layered_energies,
    layered_errors,
    layered_loss,
    weighted_errors,
)
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.layered import LayeredRounding, layered_rounding
from pcbench.theory.rounding.passes import FeedforwardRounding, feedforward_rounding
from pcbench.theory.rounding.perturbation import EquilibriumRounding, equilibrium_rounding
from pcbench.theory.rounding.undecidable import UndecidableError

Activities = list[Float[np.ndarray, "N _d"]]

_FAR = 1e6
"""An energy so many times the loss, where inference begins, counts as diverged."""

DAMPED = "a damped step is only taken where it lowers the energy (theory.md 3.3)"


class InferenceJudge:
    """Holds answers about one batch against the definition of the energy.

    Bounds on what they may be off by are found once each, of the start of every engine and of where
    each ended. The problem's numbers fit the dtype, which is the backend's; targets that are not
    observed need be no numbers.
    """

    def __init__(self, problem: Problem, dtype: DType) -> None:
        self.network, self._x, self._y = problem.layered, problem.x, problem.y
        self.problem, self._precision = problem, problem.precision
        self.samples = len(self._x)
        self.dtype, self.u = dtype, unit_roundoff(dtype)
        self._derivation = f"rounding at u = {self.u:.2g} at these activities (theory.md 4)"
        self._known: WeakKeyDictionary[InferenceResult, LayeredRounding] = WeakKeyDictionary()

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes of ``z_0 … z_L``."""
        return [(self.samples, width) for width in self.problem.network.widths]

    # Worked out when first asked for: cases that have closed forms need none of these.
    @cached_property
    def forward(self) -> list[Float[np.ndarray, "N _d"]]:
        """``z_0 … z_L`` where every engine starts, the output clamped."""
        return [*feedforward(self.network, self._x)[:-1], self._y]

    @cached_property
    def loss(self) -> float:
        """``𝓛``, the energy where every engine starts."""
        return layered_loss(self.network, self._x, self._y, self._precision)

    @cached_property
    def starts(self) -> Float[np.ndarray, " N"]:
        """``‖∂(N𝓕)/∂z‖`` of every sample where every engine starts."""
        return self.sample_residuals(self.forward)

    @cached_property
    def start(self) -> float:
        """``‖∂(N𝓕)/∂z‖`` of all samples there, or 1 where that is zero."""
        return float(np.linalg.norm(self.starts)) or 1.0

    def sample_residuals(self, activities: Activities) -> Float[np.ndarray, " N"]:
        """``‖∂(N𝓕)/∂z‖`` of every sample, by definition."""
        slopes = activity_residuals(self.network, activities, self._precision)
        squares = sum((np.sum(slope**2, axis=1) for slope in slopes), np.zeros(len(self._x)))
        return np.sqrt(squares)

    def force(self, result: InferenceResult) -> float:
        """``‖∂(N𝓕)/∂z‖`` of all samples where inference ended."""
        return float(np.linalg.norm(self.sample_residuals(self.clamped(result))))

    def clamped(self, result: InferenceResult) -> Activities:
        """``z_0 … z_L`` with input and output clamped, whatever the answer has for them."""
        return [self._x, *result.activities[1:-1], self._y]

    def energies(self, result: InferenceResult) -> Float[np.ndarray, " L"]:
        """Energy of each layer at the activities reached, by definition."""
        return layered_energies(self.network, self.clamped(result), self._precision)

    def energy(self, result: InferenceResult) -> float:
        """``𝓕`` at the activities reached, by definition."""
        return float(self.energies(result).sum())

    def gradients(self, result: InferenceResult) -> list[Float[np.ndarray, "..."]]:
        """``∂𝓕/∂W_l``, then ``∂𝓕/∂b_l``, at the activities reached, by definition."""
        weights, biases = energy_gradients(self.network, self.clamped(result), self._precision)
        return [*weights, *(biases or [])]

    def gradients_off(self, result: InferenceResult) -> tuple[float, ...]:
        """Bounds on the rounding of the same gradients, one an array."""
        return of_parameters(self.rounding(result), self.problem)

    def least_curvatures(self, result: InferenceResult) -> Float[np.ndarray, " N"]:
        """Least curvature of the energy in each sample's activities."""
        return curvature.least_curvatures(self.network, self.clamped(result), self._precision)

    def rounding(self, result: InferenceResult) -> LayeredRounding:
        """Bound what evaluating energy and slopes at an answer's activities may be off by."""
        if result not in self._known:
            self._known[result] = layered_rounding(
                self.network, self.clamped(result), self.u, self._precision
            )
        return self._known[result]

    @cached_property
    def forward_rounding(self) -> FeedforwardRounding:
        """Bound what the start of every engine, and what is evaluated there, may be off by."""
        return feedforward_rounding(self.network, self._x, self._y, self.u, self._precision)

    @cached_property
    def exact_rounding(self) -> EquilibriumRounding:
        """Bound what exact inference, and the closed forms, may be off by in a linear network.

        Outputs that are not observed are taken as observed where they are predicted: they pull at
        nothing then, either.
        """
        completed = self._y
        if self._precision is not None:
            prediction = feedforward(self.network, self._x)[-1]
            completed = np.where(self._precision > 0, self._y, prediction)
        return equilibrium_rounding(self.network.weights, self._x, completed, self.u)

    def checks(
        self,
        label: str,
        result: InferenceResult,
        settings: InferenceSettings,
        *,
        must_converge: bool,
        may_rise: float = 0.0,
    ) -> Iterator[Check]:
        """Hold an answer against what it says of itself, and against the loss.

        The engine's name in the suite, ``label``, begins every check. Where the answer
        ``must_converge``, a budget spent before the residual was reached fails. Steps of that size
        ``may_rise`` so far above the loss; infinite if not judged.
        """
        well_formed = self.form(label, result, settings)
        yield well_formed
        if not well_formed.passed:
            return
        rounding, begun = self.rounding(result), self.forward_rounding
        residual = self.force(result)
        stationary = self._expect(label, STATIONARITY)
        yield from self._clamps(stationary, result, settings)
        each, bounds = self.energies(result), rounding.energies
        yield self._expect(label, DEFINITION).each_close(
            "energy of each layer", result.energies, each, bounds, layers(len(bounds))
        )
        yield stationary.approx(
            "reported residual",
            float(result.residual) * self.start,
            residual,
            # It is relative to a start that rounds, too.
            rounding.residual + residual / self.start * begun.residual,
        )
        if may_rise < np.inf:
            off = sum(rounding.energies) + begun.loss + may_rise
            begins = self._expect(label, STARTS_AT_THE_LOSS)
            yield begins.at_most("energy ≤ loss", result.energy, self.loss, off)
        asked = settings.residual if isinstance(settings, IterativeInference) else 0.0
        if must_converge or not isinstance(settings, IterativeInference):
            carried = asked * begun.residual if asked else self.exact_rounding.residual
            most, off = asked * self.start, rounding.residual + carried
            within_budget = self._expect(label, UNFINISHED).at_most(
                "residual within the budget", residual, most, off
            )
            yield budget_spent(within_budget, settings, result, residual / self.start)
        if result.sample_residuals is not None:
            expected = self.sample_residuals(self.clamped(result))
            starts = np.where(self.starts > 0, self.starts, 1.0)
            of_start = expected / starts * begun.sample_residuals
            yield stationary.each_close(
                "residual of each sample",
                result.sample_residuals * starts,
                expected,
                np.add(rounding.sample_residuals, of_start),
                [f"sample {n}" for n in range(1, self.samples + 1)],
            )
        yield from reported(label, result, settings)

    def theorem_1(self, label: str, result: InferenceResult, settings: InferenceSettings) -> Check:
        """Compare the energy with the closed form of a linear network, unobserved outputs too.

        The residual that was asked for leaves at most ``‖ρ‖²/2c`` above it. What the closed form
        loses itself, in float64, may be more than evaluation at given activities: it solves with
        ``S``.
        """
        expected = equilibrated_energy(self.problem.weights, self._x, self._y, self._precision)
        rounding = self.rounding(result)
        # Forces are as many times errors as precisions are.
        most = max(1.0, float(np.max(self.problem.weighting)))
        asked = settings.residual if isinstance(settings, IterativeInference) else 0.0
        force = asked * self.start + rounding.residual
        least = float(self.least_curvatures(result).min())
        # Positive in any linear network; where rounding in float64 hides that, nothing is known.
        left = force**2 / (2 * least * self.samples) if least > 0 else inf
        off = sum(rounding.energies) + most * self.exact_rounding.energy if least > 0 else inf
        return Basis(
            "Theorem 1, of observed outputs alone (theory.md 2.1)",
            "rounding at these activities, and of the closed form (theory.md 4)",
            label=label,
        ).within("energy at equilibrium", result.energy, (expected, expected + left), off)

    def never_rises(self, label: str, result: InferenceResult) -> Iterator[Check]:
        """Check that energy falls at every step, of the batch as recorded and of every sample.

        The path has to begin at the loss and to end where the answer says that it ended.
        """
        path = np.empty(0) if result.path is None else result.path.sum(axis=-1)
        name, rows = "ends of the path", result.steps + 1
        rounding, begun = self.rounding(result), self.forward_rounding
        ending, damped = sum(rounding.energies), self._expect(label, DAMPED)
        if len(path) != rows:
            yield counts_match(f"{label}: {name}", len(path), rows, "rows of the path")
        else:
            ends, off = [self.loss, result.energy], [begun.loss, ending]
            basis, rows_of = self._expect(label, CONTRACT), ["first row", "last row"]
            yield basis.each_close(name, path[[0, -1]], ends, off, rows_of)
        rise = float(np.max(np.diff(path), initial=0.0))
        yield damped.at_most("rise of the energy in a step", rise, 0.0, begun.loss + ending)
        rises = self._sample_energies(self.clamped(result)) - self._sample_energies(self.forward)
        allowed = np.add(rounding.sample_energies, begun.sample_losses)
        worst = int(np.argmax(rises / allowed))
        name, where = "rise of the energy of a sample", f"sample {worst + 1}"
        yield damped.at_most(name, rises[worst], 0.0, allowed[worst], where)

    def _expect(self, label: str, source: str) -> Basis:
        return Basis(source, self._derivation, label=label)

    def _sample_energies(self, activities: Activities) -> Float[np.ndarray, " N"]:
        """``½ Σ_l e_lᵀ π e_l`` of every sample, by definition."""
        errors = layered_errors(self.network, activities)
        forces = weighted_errors(self.network, activities, self._precision)
        # A target that is not observed need be no number; its force is zero.
        squares = [np.nansum(e * f, axis=1) for e, f in zip(errors, forces, strict=True)]
        energies: Float[np.ndarray, " N"] = np.sum(squares, axis=0) / 2
        return energies

    def _clamps(
        self, expect: Basis, result: InferenceResult, settings: InferenceSettings
    ) -> Iterator[Check]:
        """Check that input and observed outputs are where they were clamped."""
        observed = self.problem.weighting > 0
        off = self.u * (1 + float(np.abs(self._x).max()))
        axes, seen = ["sample", "input"], result.activities[0]
        yield expect.all_close("clamped input", seen, self._x, off, axes)
        off = self.u * (1 + float(np.linalg.norm(self._y[observed])))
        if isinstance(settings, ExactInference):
            # It returns the output as its recursion leaves it, a check of the whole computation.
            off += self.exact_rounding.output
        seen = result.activities[-1]
        yield expect.distance("clamped output", seen[observed], self._y[observed], off)

    def form(
        self, label: str, result: InferenceResult, settings: InferenceSettings | None = None
    ) -> Check:
        """Check that every array has the shape that is due, and that inference did not diverge.

        If settings of descent are given, an energy far above the loss fails, too; and the check is
        undecided where steps of that size diverge in theory as well. It is undecided, too, where an
        engine solves for the equilibrium of a linear network, and the dtype cannot resolve it.
        """
        depth = self.network.depth
        due: list[tuple[Float[np.ndarray, "..."] | None, tuple[int, ...] | None]] = [
            *zip_longest(result.activities, self.shapes),
            (result.energies, (depth,)),
            (result.residual, ()),
        ]
        if result.sample_residuals is not None:
            due.append((result.sample_residuals, (self.samples,)))
        if result.path is not None:
            due.append((result.path, (len(result.path), depth)))
        prefix = f"{label}: " if label else ""
        check = well_formed(f"{prefix}malformed answers", due, finite=False)
        if not check.passed:
            return check
        solved = isinstance(settings, ExactInference | GaussNewtonInference)
        if solved and self.problem.network.is_linear:
            try:
                self.problem.demand_definite(self.dtype)
            except UndecidableError as error:
                return checks.undecided(f"{prefix}equilibrium", f"{error}.", source=EDGE)
        finite = all(np.isfinite(array).all() for array, _ in due if array is not None)
        if isinstance(settings, GradientInference | ErrorInference):
            with np.errstate(over="ignore", invalid="ignore"):
                reached = self.energy(result)
            # Of activities that are no numbers, neither is the energy.
            if not reached <= _FAR * (self.loss + self.forward_rounding.loss):
                too, explanation = diverges_in_theory(self.problem, settings, result.steps)
                return diverged(prefix, reached, result.steps, self.loss, explanation, excused=too)
        return check if finite else diverged(prefix, result.energy, result.steps, self.loss)


def of_parameters(rounding: LayeredRounding, problem: Problem) -> tuple[float, ...]:
    """Return the bounds on gradients, in the order of the parameters."""
    return (*rounding.gradients, *(rounding.biases if problem.network.bias else ()))
