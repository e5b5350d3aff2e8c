"""Loss, equilibrated energy and their gradients at many points in parameter space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Float

from pcbench.case import CaseSkippedError, Context
from pcbench.checks import Check
from pcbench.contract import (
    Backend,
    Capability,
    DType,
    InferenceSettings,
    IterativeInference,
    Objective,
)
from pcbench.judges.agreement import stiffness
from pcbench.judges.answers import InferenceResult, Subject, of_replica
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.reported import DEFINITION, STARTS_AT_THE_LOSS, UNFINISHED, well_formed
from pcbench.networks import NetworkSpec
from pcbench.theory.linear import equilibrium
from pcbench.theory.linear.equilibrium import (
    equilibrated_energy,
    equilibrated_energy_gradient,
    loss_gradient,
)
from pcbench.theory.rounding.bounds import unfinished_inference
from pcbench.theory.rounding.perturbation import loss_gradient_rounding

Point = Float[np.ndarray, " P"]
Points = Float[np.ndarray, "K P"]

# Replicas are asked for in blocks whose hidden activities, once for each output, are this many
# numbers: enough to keep a backend busy, few enough to fit any memory.
BLOCK = 2**20
THEOREM_1 = "Theorem 1 (theory.md 2.1)"
LOCAL = "-(1/N) Σ_n (∂f_l/∂θ_l)ᵀ e_l at the activities reached (theory.md 1)"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend says of one point, brought to the host.

    ``problem`` is the network at that point and the batch; ``gradients`` are ``∂𝓛/∂θ``, and
    ``∂𝓕/∂θ`` where inference ended with the output clamped.
    """

    problem: Problem
    loss: Float[np.ndarray, "..."]
    result: InferenceResult
    gradients: dict[Objective, list[Float[np.ndarray, "..."]]]

    def value(self, objective: Objective) -> float:
        """Loss, or the energy that inference says it reached."""
        return float(self.loss) if objective == "loss" else self.result.energy

    def gradient(self, objective: Objective) -> Point:
        """All entries of the gradient, in the order of the parameters."""
        return joined(self.gradients[objective])


def joined(arrays: Sequence[Float[np.ndarray, "..."]]) -> Point:
    """One vector of all parameters, in their order, each row-major."""
    return np.concatenate([array.ravel() for array in arrays])


def split(network: NetworkSpec, points: Float[np.ndarray, "*K P"]) -> list[Any]:
    """Weights, then biases, of one point, or of many with a leading axis."""
    shapes = [*network.shapes, *network.bias_shapes]
    ends = np.cumsum([prod(shape) for shape in shapes])[:-1]
    parts = np.split(points, ends, axis=-1)
    return [
        part.reshape(*points.shape[:-1], *shape) for part, shape in zip(parts, shapes, strict=True)
    ]


def ask(
    backend: Backend[Any], problem: Problem, points: Points, settings: InferenceSettings
) -> Iterator[Answer]:
    """Put points to a backend: as replicas where it takes them, else one by one.

    Points, one a row, are rounded to the backend's dtype; where the problem stands does not matter.
    """
    together = Capability.REPLICAS in backend.capabilities
    widths = problem.network.widths
    block = max(1, BLOCK // (len(problem.x) * sum(widths) * widths[-1])) if together else 1
    for start in range(0, len(points), block):
        some = points[start : start + block]
        parameters = split(problem.network, some if together else some[0])
        parameters = rounded(parameters, backend.dtype)
        subject = Subject(backend, problem, parameters)
        reached = subject.relax(settings)
        clamped = [*reached.activities[:-1], subject.batch[1]]
        loss, by_loss = subject.loss(), subject.loss_gradients()
        by_energy = [subject.host(one) for one in subject.model.energy_gradients(clamped)]
        result = InferenceResult.of(backend, reached)
        for index in range(len(some)):

            def one(array: Any, index: int = index, count: int = len(some)) -> Any:
                return of_replica(array, index, count) if together else array

            yield Answer(
                problem.at([one(parameter) for parameter in parameters]),
                one(loss),
                result.each(one),
                {"loss": [one(g) for g in by_loss], "energy": [one(g) for g in by_energy]},
            )


@dataclass(frozen=True, slots=True)
class Expected:
    """What the theory has for a point, and how far rounding may carry an answer from it.

    ``energy`` is what ``𝓕*`` lies between, as far as inference was asked to go; ``gradients`` are
    of those objectives whose gradient the theory has; ``source`` says so of the energy and its
    gradient. Bounds on gradients are on their Euclidean norms.
    """

    loss: float
    energy: tuple[float, float]
    gradients: dict[Objective, Point]
    off: dict[Objective, float]
    gradients_off: dict[Objective, float]
    source: tuple[str, str]


class PointJudge:
    """Holds an answer at a point against Theorem 1, or, of other networks, the definitions."""

    def __init__(self, answer: Answer, settings: InferenceSettings, dtype: DType) -> None:
        self.answer, self._settings = answer, settings
        self._problem, self._result = answer.problem, answer.result
        self._judge = InferenceJudge(answer.problem, dtype)
        self.network, self.u = self._judge.network, self._judge.u

    @cached_property
    def well_formed(self) -> Check:
        """Check that every array has the shape that is due, and holds numbers."""
        form = self._judge.form("inference", self._result, self._settings)
        if not form.passed:
            return form
        shapes = [parameter.shape for parameter in self._problem.parameters]
        gradients = self.answer.gradients.values()
        due = [(self.answer.loss, ()), *chain(*(zip_longest(one, shapes) for one in gradients))]
        return well_formed(form.name, due)

    @cached_property
    def expected(self) -> Expected:
        """The theory's own answer."""
        return self._theorem_1() if self._problem.network.is_linear else self._definition()

    def checks(self) -> Iterator[Check]:
        """Hold values and gradients against the theory, if the answer is well-formed."""
        yield self.well_formed
        if not self.well_formed.passed:
            return
        expected, answer, energy = self.expected, self.answer, self._result.energy
        energy_source, gradient_source = expected.source
        loss, off = float(answer.loss), expected.off
        yield self._basis(DEFINITION).approx("loss", loss, expected.loss, off["loss"])
        yield self._basis(energy_source).within("energy", energy, expected.energy, off["energy"])
        most = sum(off.values())
        yield self._basis(STARTS_AT_THE_LOSS).at_most("energy ≤ loss", energy, loss, most)
        for objective, gradient in expected.gradients.items():
            source = DEFINITION if objective == "loss" else gradient_source
            yield self._basis(source).distance(
                f"gradient of the {objective}",
                answer.gradient(objective),
                gradient,
                expected.gradients_off[objective],
            )
        if isinstance(self._settings, IterativeInference):
            asked = self._settings.residual
            begun = asked * self._judge.forward_rounding.residual
            yield self._basis(UNFINISHED).at_most(
                "residual within the budget",
                self._judge.force(self._result),
                asked * self._judge.start,
                self._judge.rounding(self._result).residual + begun,
            )

    @cached_property
    def force(self) -> float:
        """Bound on ``‖∂(N𝓕)/∂z‖`` where inference ended, rounding included."""
        return self._judge.force(self._result) + self._judge.rounding(self._result).residual

    @cached_property
    def least_curvature(self) -> float:
        """Least curvature of the energy in a sample's activities, where inference ended.

        Where that is no minimum the case is skipped: no tolerance rests on it.
        """
        curvatures = self._judge.least_curvatures(self._result)
        if curvatures.min() <= 0:
            raise CaseSkippedError(
                "inference ended where the energy curves downwards, at no minimum: there is no "
                "equilibrated energy there; use smaller weights"
            )
        return 2 / stiffness(curvatures)

    def uncertainty(self, objective: Objective, least_curvature: float) -> float:
        """How far the value may be from ``𝓛`` or ``𝓕*``: by rounding, and by forces that are left.

        A force ``ρ`` leaves the energy at most ``‖ρ‖²/2c`` above its minimum, where half of the
        least curvature hereabouts is relied on for ``c``.
        """
        off = self.expected.off[objective]
        if objective == "loss":
            return off
        return off + self.force**2 / (least_curvature * self._judge.samples)

    def _theorem_1(self) -> Expected:
        """A linear network: closed forms, and all that the residual asked for may leave."""
        at = self._problem.weights, self._problem.x, self._problem.y
        rounding = self._judge.exact_rounding
        energy, left, gradients_left = equilibrated_energy(*at), 0.0, 0.0
        if isinstance(self._settings, IterativeInference):
            force = max(self._settings.residual * self._judge.start, rounding.residual)
            unfinished = unfinished_inference(*at, force)
            left, gradients_left = unfinished.energy, float(np.linalg.norm(unfinished.gradients))
        return Expected(
            equilibrium.loss(*at),
            (energy, energy + left),
            {
                "loss": joined(loss_gradient(*at)),
                "energy": joined(equilibrated_energy_gradient(*at)),
            },
            {"loss": rounding.loss, "energy": rounding.energy},
            {
                "loss": float(np.linalg.norm(loss_gradient_rounding(*at, self.u))),
                "energy": float(np.linalg.norm(rounding.gradients)) + gradients_left,
            },
            (THEOREM_1, "Theorem 1 differentiated; envelope theorem (theory.md 2.1)"),
        )

    def _definition(self) -> Expected:
        """Any other network: its equilibrium is where inference says, and the rest follows."""
        judge, result = self._judge, self._result
        energy = judge.energy(result)
        return Expected(
            judge.loss,
            (energy, energy),
            {"energy": joined(judge.gradients(result))},
            {"loss": judge.forward_rounding.loss, "energy": sum(judge.rounding(result).energies)},
            {"energy": float(np.linalg.norm(judge.gradients_off(result)))},
            (DEFINITION, LOCAL),
        )

    def _basis(self, source: str) -> Basis:
        return Basis(source, f"rounding at u = {self.u:.2g} at this point (theory.md 4)")


def judged(
    context: Context, problem: Problem, points: Points, settings: InferenceSettings
) -> list[PointJudge]:
    """Put points to the backend, and set a judge over each of its answers."""
    answers = ask(context.backend, problem, points, settings)
    return [PointJudge(answer, settings, context.backend.dtype) for answer in answers]


def verdicts_of(judges: Iterable[PointJudge]) -> Iterator[Check]:
    """Judge points one after the other, up to the first that is not well-formed."""
    for index, judge in enumerate(judges, start=1):
        yield from (check.at(f"point {index}") for check in judge.checks())
        if not judge.well_formed.passed:
            return


def are_well_formed(judges: Iterable[PointJudge]) -> bool:
    """Whether there is something to go on with, right or wrong."""
    return all(judge.well_formed.passed for judge in judges)
