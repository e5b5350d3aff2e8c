"""Several matrices to complete, each with a network of its own, trained side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from pcbench.case import Context
from pcbench.contract import Trainer, TrainingSettings
from pcbench.data.base import DatasetParameters
from pcbench.judges.problem import Problem
from pcbench.networks import NetworkParameters

Masking = Literal["matched", "published"]


@dataclass(frozen=True, slots=True)
class Draws:
    """Matrices, one below the other, and where a network for each of them begins.

    Replicas share their data; one that completes a matrix of its own sees the rows of that matrix
    alone, as a batch that is the same at every step.

    Attributes
    ----------
    problems
        One a draw: its matrix, which of its entries are observed, and its initial weights.
    """

    problems: Sequence[Problem]

    @classmethod
    def pose(
        cls, context: Context, data: DatasetParameters, network: NetworkParameters, count: int
    ) -> Draws:
        """Draw so many matrices and networks, each from streams of its own."""
        return cls(
            [
                Problem.pose(context, data, network, partly_observed=True, draw=number)
                for number in range(count)
            ]
        )

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
        return Draws([_silenced(problem) for problem in self.problems])

    def trainer(
        self,
        context: Context,
        starts: Sequence[Problem],
        settings: TrainingSettings,
        masking: Masking = "matched",
    ) -> Trainer[Any]:
        """Begin to train replicas from these points, on the rows that batches will give them.

        Under published masking what is not observed counts like any other target.
        """
        backend, first = context.backend, starts[0]
        stacked = zip(*(start.parameters for start in starts), strict=True)
        model = backend.build(first.network, [np.stack(layer) for layer in stacked])
        x = backend.to_device(np.concatenate([problem.x for problem in self.problems]))
        y = backend.to_device(np.concatenate([problem.y for problem in self.problems]))
        masks = [problem.precision for problem in self.problems if problem.precision is not None]
        if masking == "published" or not masks:
            return backend.trainer(model, x, y, settings)
        return backend.trainer(model, x, y, settings, backend.to_device(np.concatenate(masks)))

    def batches(self, draws: Sequence[int]) -> Callable[[int, int], Int[np.ndarray, "T R N"]]:
        """Return the rows of each replica's matrix, whose number ``draws`` gives, at any step."""
        rows = np.array(draws)[:, None] * self.samples + np.arange(self.samples)

        def at_steps(begun: int, end: int) -> Int[np.ndarray, "T R N"]:
            return np.tile(rows, (end - begun, 1, 1))

        return at_steps


def whole(problem: Problem) -> Problem:
    """Return the problem with all of its targets observed."""
    return replace(problem, precision=None)


def _silenced(problem: Problem) -> Problem:
    if problem.precision is None:
        return problem
    return replace(problem, y=np.where(problem.precision > 0, problem.y, np.nan))
