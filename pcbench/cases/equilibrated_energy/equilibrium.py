"""One answer of a backend about an equilibrium, and the judgement of it by Theorem 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.checks import Check, Tolerance
from pcbench.contract import Backend, DType, InferenceSettings, IterativeInference
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
    none_of,
)
from pcbench.theory.linear import equilibrium
from pcbench.theory.linear.activities import feedforward_residual, prediction_errors, residual_norm
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

Arrays = list[Float[np.ndarray, "N _d"]]

THEOREM_1 = "Theorem 1 (theory.md 2.1)"
ENVELOPE = "Theorem 1 differentiated; envelope theorem (theory.md 2.1)"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend says about one batch, brought to the host.

    ``energies`` and ``residual`` are as inference reports them; ``recomputed`` are the energies
    that the backend finds at the activities it returned, with the output clamped to the target.
    """

    loss: Float[np.ndarray, "..."]
    energies: Float[np.ndarray, "..."]
    recomputed: Float[np.ndarray, "..."]
    prediction: Float[np.ndarray, "..."]
    activities: list[Float[np.ndarray, "..."]]
    gradients: list[Float[np.ndarray, "..."]]
    loss_gradients: list[Float[np.ndarray, "..."]]
    residual: Float[np.ndarray, "..."]
    sample_residuals: Float[np.ndarray, "..."] | None
    converged: bool
    steps: int

    @classmethod
    def ask(cls, backend: Backend[Any], problem: Problem, inference: InferenceSettings) -> Answer:
        """Put one batch to the backend."""
        model = backend.build(problem.network, problem.weights)
        x, y = backend.to_device(problem.x), backend.to_device(problem.y)
        reached = model.infer(x, y, inference)
        clamped = [*reached.activities[:-1], y]
        host = backend.to_host
        activities = [host(activity) for activity in reached.activities]
        # Activities of other shapes would not be judged but break whatever is asked of them.
        due = [(len(problem.x), width) for width in problem.network.widths]
        usable = [activity.shape for activity in activities] == due
        return cls(
            loss=host(model.loss(x, y)),
            energies=host(reached.energies),
            recomputed=host(model.energies(clamped)) if usable else np.empty(0),
            prediction=host(model.predict(x)),
            activities=activities,
            gradients=list(map(host, model.energy_gradients(clamped))) if usable else [],
            loss_gradients=[host(gradient) for gradient in model.loss_gradients(x, y)],
            residual=host(reached.residual),
            sample_residuals=(
                None if reached.sample_residuals is None else host(reached.sample_residuals)
            ),
            converged=reached.converged,
            steps=reached.steps,
        )

    @property
    def energy(self) -> float:
        """The energy that inference says it reached."""
        return float(self.energies.sum())


class Judge:
    """What the theory demands of an answer about one batch, and how closely.

    Parameters
    ----------
    problem
        The batch and the network, in numbers that fit the dtype.
    inference
        How the backend was asked to infer: gradient inference may stop at its residual.
    dtype
        The backend's.

    Attributes
    ----------
    theorem_1
        ``𝓕*``.
    """

    def __init__(self, problem: Problem, inference: InferenceSettings, dtype: DType) -> None:
        self._problem = problem
        self._weights, self._x, self._y = problem.weights, problem.x, problem.y
        self._u = unit_roundoff(dtype)
        self._rounding = equilibrium_rounding(self._weights, self._x, self._y, self._u)
        self._unfinished = None
        self._residual = 0.0
        if isinstance(inference, IterativeInference):
            self._inference = inference
            # Where nothing pulls at the feedforward activities, the residual asked for is absolute;
            # where rounding is more than what was asked for, it is all that can be had.
            self._start = feedforward_residual(self._weights, self._x, self._y) or 1.0
            self._residual = max(inference.residual * self._start, self._rounding.residual)
            self._unfinished = unfinished_inference(self._weights, self._x, self._y, self._residual)

        self.theorem_1 = equilibrated_energy(self._weights, self._x, self._y)

    def checks(self, answer: Answer) -> Iterator[Check]:
        """Hold the answer against the theory; one that is not even well-formed, against that."""
        well_formed = self._form(answer)
        yield well_formed
        if not well_formed.passed:
            return
        clamped = [*answer.activities[:-1], self._y]
        errors = prediction_errors(self._weights, clamped)
        yield from self._energy(answer, errors)
        yield from self._bounds(answer)
        yield from self._gradients(answer, clamped, errors)
        yield from self._activities(answer, errors)
        yield from self._account(answer)

    def backpropagation(self, answer: Answer) -> Iterator[Check]:
        """Hold the gradients of the loss against theirs."""
        expected = loss_gradient(self._weights, self._x, self._y)
        allowed = loss_gradient_rounding(self._weights, self._x, self._y, self._u)
        for layer, (seen, wanted, tolerance) in enumerate(
            zip(answer.loss_gradients, expected, allowed, strict=False), start=1
        ):
            yield checks.distance(
                "gradients of the loss",
                seen,
                wanted,
                self._tolerance(tolerance),
                source=DEFINITION,
                where=f"layer {layer}",
            )

    def _energy(self, answer: Answer, errors: Arrays) -> Iterator[Check]:
        name, expected = "energy at equilibrium", self.theorem_1
        tolerance = self._tolerance(self._rounding.energy)
        if self._unfinished is None:
            yield checks.approx(name, answer.energy, expected, tolerance, source=THEOREM_1)
        else:
            yield checks.within(
                name,
                answer.energy,
                (expected, expected + self._unfinished.energy),
                tolerance,
                source=f"{THEOREM_1}; the residual leaves at most ‖ρ‖²/(2N λ_min(H_z)) (2.3)",
            )
        by_definition = [float(np.sum(e**2)) / (2 * len(e)) for e in errors]
        for how, energies in (
            ("as inference has them", answer.energies),
            ("at the same activities", answer.recomputed),
        ):
            yield checks.all_close(
                "energy of each layer",
                energies,
                by_definition,
                tolerance,
                source=DEFINITION,
                where=how,
                axes=["layer"],
            )

    def _bounds(self, answer: Answer) -> Iterator[Check]:
        rounding, loss = self._rounding, equilibrium.loss(self._weights, self._x, self._y)
        yield from _forward(self._problem, rounding, self._u, answer.loss, answer.prediction)
        largest = output_covariance_norm(self._weights)
        yield checks.at_least(
            "energy ≥ loss/λ_max(S)",
            answer.energy,
            loss / largest,
            self._tolerance(rounding.energy),
            source=THEOREM_1,
        )
        yield checks.at_most(
            "energy ≤ loss",
            answer.energy,
            loss + (self._unfinished.energy if self._unfinished else 0.0),
            self._tolerance(rounding.energy),
            source=THEOREM_1,
        )

    def _gradients(self, answer: Answer, activities: Arrays, errors: Arrays) -> Iterator[Check]:
        expected = equilibrated_energy_gradient(self._weights, self._x, self._y)
        allowed = np.array(self._rounding.gradients)
        if self._unfinished is not None:
            allowed = allowed + self._unfinished.gradients
        for layer, (seen, wanted, tolerance) in enumerate(
            zip(answer.gradients, expected, allowed, strict=True), start=1
        ):
            yield checks.distance(
                "weight gradients",
                seen,
                wanted,
                self._tolerance(float(tolerance)),
                source=ENVELOPE,
                where=f"layer {layer}",
            )
        for layer, (seen, error, below, rounding) in enumerate(
            zip(answer.gradients, errors, activities, self._rounding.gradients, strict=False),
            start=1,
        ):
            yield checks.distance(
                "local gradients",
                seen,
                error.T @ (below / -len(below)),
                self._tolerance(rounding),
                source="-(1/N) e_lᵀ z_{l-1} at the activities reached (theory.md 2.2)",
                where=f"layer {layer}",
            )

    def _activities(self, answer: Answer, errors: Arrays) -> Iterator[Check]:
        yield checks.all_close(
            "clamped input",
            answer.activities[0],
            self._x,
            self._tolerance(self._u * (1 + float(np.abs(self._x).max()))),
            source=STATIONARITY,
            axes=["sample", "input"],
        )
        yield checks.distance(
            "clamped output",
            answer.activities[-1],
            self._y,
            self._tolerance(self._rounding.output),
            source=STATIONARITY,
        )
        residual = residual_norm(self._weights, errors)
        tolerance = self._tolerance(self._rounding.residual)
        yield self._in_time(
            answer,
            checks.at_most(
                "hidden residual", residual, self._residual, tolerance, source=STATIONARITY
            ),
        )
        if self._unfinished is not None:
            yield checks.approx(
                "reported residual",
                float(answer.residual) * self._start,
                residual,
                tolerance,
                source=STATIONARITY,
            )
            within_budget = checks.at_most(
                "residual within the budget",
                float(answer.residual) * self._start,
                self._residual,
                Tolerance(
                    4 * self._u * self._residual,
                    "a few roundings: what was asked for is reached or it is not",
                ),
                source="inference that stops early is not at equilibrium (theory.md 2.3)",
            )
            yield self._in_time(answer, within_budget)

    def _in_time(self, answer: Answer, check: Check) -> Check:
        if self._unfinished is None:
            return check
        return budget_spent(
            check,
            self._inference,
            answer.steps,
            float(answer.residual),
            converged=answer.converged,
        )

    def _form(self, answer: Answer) -> Check:
        """Check that every array has the shape that is due, and holds numbers."""
        n, shapes = len(self._x), [weight.shape for weight in self._weights]
        layers = (len(shapes),)
        activities = [self._x.shape, *((n, out) for out, _ in shapes)]
        due = [
            (answer.loss, ()),
            (answer.residual, ()),
            (answer.energies, layers),
            (answer.recomputed, layers),
            (answer.prediction, self._y.shape),
            *zip_longest(answer.activities, activities),
            *zip_longest(answer.gradients, shapes),
            *zip_longest(answer.loss_gradients, shapes),
        ]
        malformed = sum(array is None or array.shape != shape for array, shape in due)
        if not malformed and not all(np.isfinite(array).all() for array, _ in due):
            return diverged("", answer.energy, answer.steps, self.theorem_1)
        return none_of("malformed answers", malformed, len(due), "answers", source=CONTRACT)

    def _account(self, answer: Answer) -> Iterator[Check]:
        """Check what inference says of itself: whether it converged, and in how many steps."""
        reached, fewest, most = bool(answer.residual <= 1.0), 0, 0
        if self._unfinished is not None:
            most = self._inference.max_steps
            fewest = int(self._start > 2 * self._residual)
            reached = arrived(self._inference, answer.residual, answer.sample_residuals)
        yield as_reported("converged as reported", answer.converged, reached)
        yield checks.within(
            "steps of inference",
            answer.steps,
            (fewest, most),
            counted("steps"),
            source=CONTRACT,
        )

    def _tolerance(self, value: float) -> Tolerance:
        derivation = f"rounding at u = {self._u:.2g} through this network (theory.md 4)"
        if self._unfinished is not None:
            derivation += f"; residual {self._residual:.2g} asked for"
        return Tolerance(value, derivation)


def without_equilibrium(backend: Backend[Any], problem: Problem) -> Iterator[Check]:
    """Judge loss and prediction alone, which need no inverse of ``S``."""
    model, host = backend.build(problem.network, problem.weights), backend.to_host
    x, y = backend.to_device(problem.x), backend.to_device(problem.y)
    u = unit_roundoff(backend.dtype)
    rounding = equilibrium_rounding(problem.weights, problem.x, problem.y, u)
    yield from _forward(problem, rounding, u, host(model.loss(x, y)), host(model.predict(x)))


def _forward(
    problem: Problem,
    rounding: EquilibriumRounding,
    u: float,
    loss: Float[np.ndarray, "..."],
    prediction: Float[np.ndarray, "..."],
) -> Iterator[Check]:
    """Hold loss and prediction against their definitions."""
    weights, x, y = problem.weights, problem.x, problem.y
    left = residuals(weights, x, y)
    derivation = f"rounding at u = {u:.2g} through this network (theory.md 4)"
    allowed = Tolerance(rounding.loss, derivation)
    yield checks.all_close(
        "loss", loss, equilibrium.loss(weights, x, y), allowed, source=DEFINITION
    )
    allowed = Tolerance(rounding.prediction, derivation)
    yield checks.distance("prediction", prediction, y - left, allowed, source=DEFINITION)
