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
from pcbench.judges.training.curves import Budget, Course, learning_rule, looks


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

    @classmethod
    def pose(cls, context: Context, asked: Parameters) -> Draws:
        """Draw matrices and networks, each from streams of its own."""
        problems = [
            Problem.pose(context, asked.data, asked.network, partly_observed=True, draw=number)
            for number in range(asked.draws)
        ]
        return cls(problems, context, asked)

    def __len__(self) -> int:
        return len(self.problems)

    @property
    def samples(self) -> int:
        """``N``, the rows of one matrix."""
        return len(self.problems[0].x)

    @property
    def outputs(self) -> int:
        """``d_L``, the columns of a matrix."""
        return len(self.problems[0].y[0])

    def silenced(self) -> Draws:
        """Return the same draws, where targets that are not observed are not numbers."""
        problems = [
            problem
            if problem.precision is None
            else replace(problem, y=np.where(problem.precision > 0, problem.y, np.nan))
            for problem in self.problems
        ]
        return replace(self, problems=problems)

    def budget(self, steps: int) -> Budget:
        """Return how long to train, with looks as far apart as they are on BP's paths."""
        look = self.asked.training.look
        return Budget(steps, look, every=look)

    def rule(self, way: Way) -> TrainingSettings:
        """Return the rule by which a learner trains."""
        rate, samples = self.asked.training.learning_rate, (self.samples, self.outputs)
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
        budget: Budget,
        stop: Callable[[Course], Bool[np.ndarray, " R"]],
    ) -> Course:
        """Train replicas of the draws with these numbers until each has ended."""
        course = Course.begin(len(numbers), len(self.problems[0].parameters))
        if numbers:
            for _ in looks(trainer, course, budget, batches=self.batches(numbers), stop=stop):
                pass
        return course

    def batches(self, draws: Sequence[int]) -> Callable[[int, int], Int[np.ndarray, "T R N"]]:
        """Return the rows of each replica's matrix, whose number ``draws`` gives, at any step."""
        rows = np.array(draws)[:, None] * self.samples + np.arange(self.samples)
        return lambda begun, end: np.tile(rows, (end - begun, 1, 1))


def whole(problem: Problem) -> Problem:
    """Return the problem with all of its targets observed."""
    return replace(problem, precision=None)
