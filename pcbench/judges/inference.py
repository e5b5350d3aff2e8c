"""The judgement of where inference ended, in any network, by the energy's definition."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.checks import Check
from pcbench.contract import DType, ExactInference, InferenceSettings, IterativeInference
from pcbench.judges.answers import InferenceResult
from pcbench.judges.problem import Problem
from pcbench.judges.reported import (
    CONTRACT,
    DEFINITION,
    STATIONARITY,
    arrived,
    as_reported,
    budget_spent,
    counted,
    diverged,
    layers,
    none_of,
)
from pcbench.judges.rounding import Rounding
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
from pcbench.theory.rounding.feedforward import FeedforwardRounding
from pcbench.theory.rounding.layered import LayeredRounding
from pcbench.theory.rounding.perturbation import EquilibriumRounding

DAMPED = "a damped step is only taken where it lowers the energy (theory.md 3.3)"


class InferenceJudge:
    """Holds answers about one batch against the definition of the energy.

    Parameters
    ----------
    problem
        The network and the batch, in numbers that fit the dtype.
    dtype
        The backend's.

    Attributes
    ----------
    network
        The network as the theory sees it.
    samples
        ``N``.
    loss
        ``𝓛``, where every engine starts.
    start
        ``‖∂(N𝓕)/∂z‖`` there, or 1 where that is zero.
    """

    def __init__(self, problem: Problem, dtype: DType) -> None:
        self.network, self._x, self._y = problem.layered, problem.x, problem.y
        self._precision = problem.precision
        forward = feedforward(self.network, self._x)
        self._forward = [*forward[:-1], self._y]
        self.loss = layered_loss(self.network, self._x, self._y, self._precision)
        self.starts = self.sample_residuals(self._forward)
        self.samples = len(self._x)
        self.start = float(np.linalg.norm(self.starts)) or 1.0
        self._rounding = Rounding(self.network, self._x, self._y, self._precision, dtype)

    def sample_residuals(
        self, activities: list[Float[np.ndarray, "N _d"]]
    ) -> Float[np.ndarray, " N"]:
        """``‖∂(N𝓕)/∂z‖`` of every sample, by definition."""
        slopes = activity_residuals(self.network, activities, self._precision)
        squares = sum((np.sum(slope**2, axis=1) for slope in slopes), np.zeros(len(self._x)))
        return np.sqrt(squares)

    def force(self, result: InferenceResult) -> float:
        """``‖∂(N𝓕)/∂z‖`` of all samples where inference ended."""
        return float(np.linalg.norm(self.sample_residuals(self.clamped(result))))

    def at_last_hidden_layer(
        self, result: InferenceResult
    ) -> tuple[Float[np.ndarray, "N d"], Float[np.ndarray, "N d"]]:
        """``ρ_{L-1} = e_{L-1} - J_Lᵀ (π e)_L``, and the pull of the output, ``J_Lᵀ (π e)_L``."""
        activities = self.clamped(result)
        force = activity_residuals(self.network, activities, self._precision)[-1]
        error = layered_errors(self.network, activities)[-2]
        return force, error - force

    def clamped(self, result: InferenceResult) -> list[Float[np.ndarray, "N _d"]]:
        """``z_0 … z_L`` with input and output clamped, whatever the answer has for them."""
        return [self._x, *result.activities[1:-1], self._y]

    def energy(self, result: InferenceResult) -> float:
        """``𝓕`` at the activities reached, by definition."""
        energies = layered_energies(self.network, self.clamped(result), self._precision)
        return float(energies.sum())

    def gradients(self, result: InferenceResult) -> list[Float[np.ndarray, "..."]]:
        """``∂𝓕/∂W_l``, then ``∂𝓕/∂b_l``, at the activities reached, by definition."""
        weights, biases = energy_gradients(self.network, self.clamped(result), self._precision)
        return [*weights, *(biases or [])]

    def least_curvatures(self, result: InferenceResult) -> Float[np.ndarray, " N"]:
        """Least curvature of the energy in each sample's activities."""
        return curvature.least_curvatures(self.network, self.clamped(result), self._precision)

    def rounding(self, result: InferenceResult) -> LayeredRounding:
        """Bound what evaluating energy and slopes at these activities may be off by."""
        return self._rounding.of(result, self.clamped(result))

    @property
    def u(self) -> float:
        """Unit roundoff of the backend's dtype."""
        return self._rounding.u

    @property
    def forward_rounding(self) -> FeedforwardRounding:
        """Bound what the start of every engine, and what is evaluated there, may be off by."""
        return self._rounding.start

    @property
    def exact_rounding(self) -> EquilibriumRounding:
        """Bound what exact inference, and the closed forms, may be off by in a linear network."""
        return self._rounding.exact

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

        Parameters
        ----------
        label
            The engine's name in the suite; every check begins with it.
        result
            The answer.
        settings
            What was asked.
        must_converge
            Whether a budget spent before the residual was reached fails.
        may_rise
            How far above the loss steps of that size may lead the energy; infinite if not judged.
        """
        well_formed = self.form(label, result)
        yield well_formed
        if not well_formed.passed:
            return
        activities, rounding = self.clamped(result), self.rounding(result)
        yield from self._clamps(label, result, settings)
        yield checks.each_close(
            f"{label}: energy of each layer",
            result.energies,
            layered_energies(self.network, activities, self._precision),
            rounding.energies,
            self._rounding.derivation,
            source=DEFINITION,
            labels=layers(len(rounding.energies)),
        )
        residual = float(np.linalg.norm(self.sample_residuals(activities)))
        begun = self.forward_rounding
        yield checks.approx(
            f"{label}: reported residual",
            float(result.residual) * self.start,
            residual,
            # It is relative to a start that rounds, too.
            self._rounding.tolerance(rounding.residual + residual / self.start * begun.residual),
            source=STATIONARITY,
        )
        if may_rise < np.inf:
            yield checks.at_most(
                f"{label}: energy ≤ loss",
                result.energy,
                self.loss,
                self._rounding.tolerance(sum(rounding.energies) + begun.loss + may_rise),
                source="inference begins at the feedforward activities, where the energy is the "
                "loss",
            )
        asked = settings.residual if isinstance(settings, IterativeInference) else None
        if must_converge or asked is None:
            carried = self._rounding.exact.residual if asked is None else asked * begun.residual
            within_budget = checks.at_most(
                f"{label}: residual within the budget",
                residual,
                (asked or 0.0) * self.start,
                self._rounding.tolerance(rounding.residual + carried),
                source="inference that stops early is not at equilibrium (theory.md 2.3)",
            )
            if isinstance(settings, IterativeInference):
                within_budget = budget_spent(
                    within_budget,
                    settings,
                    result.steps,
                    residual / self.start,
                    converged=result.converged,
                )
            yield within_budget
        yield from self._account(label, result, settings)

    def never_rises(self, label: str, result: InferenceResult) -> Iterator[Check]:
        """Check that energy falls at every step, of the batch as recorded and of every sample.

        The path has to begin at the loss and to end where the answer says that it ended.
        """
        path = np.empty(0) if result.path is None else result.path.sum(axis=-1)
        name, rows = f"{label}: ends of the path", result.steps + 1
        rounding, begun = self.rounding(result), self.forward_rounding
        ending = sum(rounding.energies)
        if len(path) != rows:
            yield checks.approx(name, len(path), rows, counted("rows of the path"), source=CONTRACT)
        else:
            yield checks.each_close(
                name,
                path[[0, -1]],
                [self.loss, result.energy],
                [begun.loss, ending],
                self._rounding.derivation,
                source=CONTRACT,
                labels=["first row", "last row"],
            )
        yield checks.at_most(
            f"{label}: rise of the energy in a step",
            float(np.max(np.diff(path), initial=0.0)),
            0.0,
            self._rounding.tolerance(begun.loss + ending),
            source=DAMPED,
        )
        rise = self._sample_energies(self.clamped(result)) - self._sample_energies(self._forward)
        allowed = np.add(rounding.sample_energies, begun.sample_losses)
        worst = int(np.argmax(rise / allowed))
        yield checks.at_most(
            f"{label}: rise of the energy of a sample",
            float(rise[worst]),
            0.0,
            self._rounding.tolerance(float(allowed[worst])),
            source=DAMPED,
            where=f"sample {worst + 1}",
        )

    def _sample_energies(
        self, activities: list[Float[np.ndarray, "N _d"]]
    ) -> Float[np.ndarray, " N"]:
        """``½ Σ_l e_lᵀ π e_l`` of every sample, by definition."""
        errors = layered_errors(self.network, activities)
        forces = weighted_errors(self.network, activities, self._precision)
        # A target that is not observed need be no number; its force is zero.
        squares = [np.nansum(e * f, axis=1) for e, f in zip(errors, forces, strict=True)]
        energies: Float[np.ndarray, " N"] = np.sum(squares, axis=0) / 2
        return energies

    def _clamps(
        self, label: str, result: InferenceResult, settings: InferenceSettings
    ) -> Iterator[Check]:
        """Check that input and observed outputs are where they were clamped."""
        precision = self._precision
        observed = np.ones_like(self._y, bool) if precision is None else precision > 0
        yield checks.all_close(
            f"{label}: clamped input",
            result.activities[0],
            self._x,
            self._rounding.tolerance(self._rounding.u * (1 + float(np.abs(self._x).max()))),
            source=STATIONARITY,
            axes=["sample", "input"],
        )
        allowed = self._rounding.u * (1 + float(np.linalg.norm(self._y[observed])))
        if isinstance(settings, ExactInference):
            # It returns the output as its recursion leaves it, a check of the whole computation.
            allowed += self._rounding.exact.output
        yield checks.distance(
            f"{label}: clamped output",
            result.activities[-1][observed],
            self._y[observed],
            self._rounding.tolerance(allowed),
            source=STATIONARITY,
        )

    def _account(
        self, label: str, result: InferenceResult, settings: InferenceSettings
    ) -> Iterator[Check]:
        """Check what inference says of having converged, for the batch and every sample."""
        if result.sample_residuals is not None:
            expected = self.sample_residuals(self.clamped(result))
            starts = np.where(self.starts > 0, self.starts, 1.0)
            of_start = expected / starts * self.forward_rounding.sample_residuals
            yield checks.each_close(
                f"{label}: residual of each sample",
                result.sample_residuals * starts,
                expected,
                np.add(self.rounding(result).sample_residuals, of_start),
                self._rounding.derivation,
                source=STATIONARITY,
                labels=[f"sample {n}" for n in range(1, self.samples + 1)],
            )
        reached, most = True, 0
        if isinstance(settings, IterativeInference):
            reached = arrived(settings, result.residual, result.sample_residuals)
            most = settings.max_steps
        yield as_reported(f"{label}: converged as reported", result.converged, reached)
        yield checks.within(
            f"{label}: steps", result.steps, (0, most), counted("steps"), source=CONTRACT
        )

    def form(self, label: str, result: InferenceResult) -> Check:
        """Check that every array has the shape that is due, and that inference did not diverge."""
        depth = self.network.depth
        shapes = [activity.shape for activity in self._forward]
        due = [
            *zip_longest(result.activities, shapes),
            (result.energies, (depth,)),
            (result.residual, ()),
        ]
        if result.sample_residuals is not None:
            due.append((result.sample_residuals, (self.samples,)))
        if result.path is not None:
            due.append((result.path, (len(result.path), depth)))
        malformed = sum(array is None or array.shape != shape for array, shape in due)
        if not malformed and not all(np.isfinite(array).all() for array, _ in due):
            return diverged(f"{label}: ", result.energy, result.steps, self.loss)
        return none_of(
            f"{label}: malformed answers", malformed, len(due), "answers", source=CONTRACT
        )
