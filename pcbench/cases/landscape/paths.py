"""Paths of stochastic gradient descent across a landscape, by backpropagation and by PC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from pcbench import checks
from pcbench.case import CaseParameters, Columns, Context
from pcbench.checks import Check
from pcbench.contract import InferenceSettings, Objective
from pcbench.judges.basis import Basis
from pcbench.judges.points import Answer, Points, joined, judged, verdicts_of
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.training.curves import LEARNERS
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.underflow import SMALLEST

MOST_PLOTTED = 16
"""Each is a column of a path."""

DESCENT = Basis(
    "gradient descent on the closed form (theory.md 2.1)",
    "the rate times rounding of the gradient, and rounding of the step",
)

# Further out a step that is too long has left the landscape for good.
_FAR = 1e3


class Paths(CaseParameters):
    """Stochastic gradient descent from near the point, in matched scaling, as in figure 2."""

    starts: PositiveInt = Field(5, description="Paths of either learner, from the same starts.")
    std: NonNegativeFloat = Field(0.05, description="σ of the starts around the point.")
    steps: PositiveInt = 50
    learning_rate: PositiveFloat = 0.4
    batch: PositiveInt = Field(64, description="Samples in a step; at most data.samples.")


class Walk:
    """Both learners' paths from the same starts near a point, and over the same batches.

    The streams are ``starts`` and ``batches``; ``settings`` say how PC infers.
    """

    def __init__(
        self, context: Context, problem: Problem, settings: InferenceSettings, asked: Paths
    ) -> None:
        self._context, self._problem, self._settings = context, problem, settings
        self._asked, self._dtype = asked, context.backend.dtype
        self._u = unit_roundoff(self._dtype)
        origin = joined(problem.parameters)
        away = context.rng("starts").standard_normal((asked.starts, len(origin)))
        [self._starts] = rounded([origin + asked.std * away], self._dtype)
        rng = context.rng("batches")
        # Both learners see the same batches: what differs is the objective alone.
        drawn = [rng.choice(len(problem.x), asked.batch, replace=False) for _ in range(asked.steps)]
        self._batches = [replace(problem, x=problem.x[rows], y=problem.y[rows]) for rows in drawn]

    def growth(self) -> Columns:
        """By how much ``‖W_L‖`` grows on PC's paths as long as they are near the origin.

        ``(1 + η λ_max(Σ_yy))`` a step, by Theorem 2 (theory.md 2.4), with two hidden layers or more
        and in the direction of steepest descent; BP stays there.
        """
        y, rate = self._problem.y, self._asked.learning_rate
        a_step = 1 + rate * float(np.linalg.eigvalsh(y.T @ y / len(y))[-1])
        steps = np.arange(self._asked.steps + 1.0)
        growth = a_step**steps
        return Columns(
            "growth of W_L near the origin", {"step": steps.tolist(), "factor": growth.tolist()}
        )

    def findings(self, learner: str) -> Iterator[Check | Columns]:
        """Go all paths of one learner at once, a step at a time, as long as every check holds.

        A step sees its batch; the values along a path are those of all samples.
        """
        objective, points = LEARNERS[learner], self._starts
        seen: list[list[Answer]] = []
        ends = [*self._batches, None]  # after the last step there is no batch
        for step, batch in enumerate(
            self._context.progress(f"paths of {learner}", ends, len(ends))
        ):
            judges = judged(self._context, self._problem, points, self._settings)
            verdicts = list(verdicts_of(judges))
            if checks.all_passed(verdicts):
                seen.append([judge.answer for judge in judges])
                if batch is not None:
                    points, made = self._step(points, batch, objective)
                    verdicts += made
            yield from (verdict.at(f"{learner}, step {step}") for verdict in verdicts)
            if not checks.all_passed(verdicts) or np.abs(points).max() > _FAR:
                break
        for start, path in enumerate(zip(*seen, strict=True), start=1):
            yield _columns(f"path {start} of {learner}", path)

    def _step(
        self, points: Points, batch: Problem, objective: Objective
    ) -> tuple[Points, list[Check]]:
        """Move all points against the backend's gradient, and check that by the theory's."""
        judges = judged(self._context, batch, points, self._settings)
        formed = [judge.well_formed for judge in judges]
        if not checks.all_passed(formed):
            return points, formed
        rate = self._asked.learning_rate
        slopes = np.stack([judge.answer.gradient(objective) for judge in judges])
        [moved] = rounded([points - rate * slopes], self._dtype)
        # Each entry may be flushed to zero as it is rounded to the dtype.
        flushed = SMALLEST * np.sqrt(points.shape[1])
        made = [
            DESCENT.distance(
                f"steps on the {objective}",
                after,
                before - rate * judge.expected.gradients[objective],
                rate * judge.expected.gradients_off[objective]
                + self._u * np.linalg.norm(after)
                + flushed,
                f"path {number}",
            )
            for number, (judge, before, after) in enumerate(
                zip(judges, points, moved, strict=True), start=1
            )
        ]
        return moved, formed + made


def _columns(name: str, path: tuple[Answer, ...]) -> Columns:
    """Coordinates and values of one path."""
    points = np.stack([joined(answer.problem.parameters) for answer in path])
    columns = {"step": [float(step) for step in range(len(path))]}
    columns |= {f"parameter {i}": column.tolist() for i, column in enumerate(points.T, start=1)}
    for objective in LEARNERS.values():
        columns[objective] = [answer.value(objective) for answer in path]
    return Columns(name, columns)
