"""Several matrices to complete, each with a network of its own, trained side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from pcbench.case import Context
from pcbench.cases.matrix_completion.parameters import Parameters, Way
from pcbench.contract import Trainer, TrainingSettings
from pcbench.judges.problem import Problem
from pcbench.judges.training.curves import Course, learning_rule, looks


@dataclass(frozen=True, slots=True)
class Draws:
    """Matrices, one below the other, and where a network for each of them begins.

    Replicas share their data; one that completes a matrix of its own sees the rows of that matrix
    alone, as a batch that is the same at every step. Each problem is a draw: its matrix, which of
    its entries are observed, and its initial weights.
    """

    problems: Sequence[Problem]
    context: Context
    asked: Parameters

    def rule(self, way: Way) -> TrainingSettings:
        """Return the rule by which a learner trains."""
        rate, samples = self.asked.training.learning_rate, self.problems[0].y.shape
        return learning_rule(way.learner, way.scaling, rate, samples, self.asked.engine)

    def trainer(self, starts: Sequence[Problem], way: Way) -> Trainer[Any]:
        """Begin to train replicas from these points, on the rows that batches will give them.

        Under published masking what is not observed counts like any other target.
        """
        backend = self.context.backend
        stacked = zip(*(start.parameters for start in starts), strict=True)
        model = backend.build(starts[0].network, [np.stack(layer) for layer in stacked])
        data = [[problem.x for problem in self.problems], [problem.y for problem in self.problems]]
        masks = [problem.precision for problem in self.problems if problem.precision is not None]
        if masks and way.masking == "matched":
            data.append(masks)
        x, y, *precision = (backend.to_device(np.concatenate(part)) for part in data)
        return backend.trainer(model, x, y, self.rule(way), *precision)

    def train(
        self,
        trainer: Trainer[Any],
        numbers: Sequence[int],
        steps: int,
        stop: Callable[[Course], Bool[np.ndarray, " R"]],
    ) -> Course:
        """Train replicas of the draws with these numbers until each has ended.

        Looks are as far apart as they are on BP's paths.
        """
        course = Course(len(numbers), len(self.problems[0].parameters))
        look = self.asked.training.look
        if numbers:
            rows = self.batches(numbers)
            for _ in looks(trainer, course, steps, look, every=look, batches=rows, stop=stop):
                pass
        return course

    def batches(self, draws: Sequence[int]) -> Callable[[int, int], Int[np.ndarray, "T R N"]]:
        """Return the rows of each replica's matrix, whose number ``draws`` gives, at any step."""
        samples = len(self.problems[0].x)
        rows = np.array(draws)[:, None] * samples + np.arange(samples)
        return lambda begun, end: np.tile(rows, (end - begun, 1, 1))


def whole(problem: Problem) -> Problem:
    """Return the problem with all of its targets observed."""
    return replace(problem, precision=None)
