"""Backpropagation from near the origin, and the saddles that it passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from pcbench import theory
from pcbench.backends import Sgd, Trainer, TrainingSettings
from pcbench.cases._completion_draws import Draws, Masking, Parameters, whole
from pcbench.cases._completion_saddles import Path, numerical_rank
from pcbench.cases._problem import Problem
from pcbench.cases._relaxed_judge import judged
from pcbench.cases._training import Budget, Course, train
from pcbench.cases.base import Context


@dataclass(frozen=True, slots=True)
class Saddle:
    """A point on the path of a draw.

    Attributes
    ----------
    draw, rank
        Whose, and of which rank.
    step
        After how many steps backpropagation was there.
    problem
        The draw's matrix, and the network at the saddle.
    next
        The draw's next saddle, to which the loss falls from here; ``None`` after the last.
    """

    draw: int
    rank: int
    step: int
    problem: Problem
    next: Saddle | None = None

    def losses(self, masking: Masking) -> tuple[float, float]:
        """Return ``𝓛`` here, and at the bottom of the way down; of all targets, or those observed.

        The bottom is the next saddle, and 0 after the last one; or where the next one is no lower,
        which can be so on targets that the path knew nothing of.
        """
        here = self._loss(masking)
        bottom = 0.0 if self.next is None else self.next._loss(masking)
        return here, bottom if bottom < here else 0.0

    def _loss(self, masking: Masking) -> float:
        problem = whole(self.problem) if masking == "published" else self.problem
        return theory.layered_loss(judged(problem), problem.x, problem.y, problem.precision)

    def __str__(self) -> str:
        return f"draw {self.draw + 1}, rank {self.rank}"


@dataclass(frozen=True, slots=True)
class Descent:
    """What came of the paths.

    Attributes
    ----------
    course
        Losses of all steps, and how each draw ended.
    paths
        One a draw.
    saddles
        Of all draws, in the order of draws and ranks.
    """

    course: Course
    paths: Sequence[Path]
    saddles: Sequence[Saddle]


def descend(
    context: Context, draws: Draws, rate: float, budget: Budget, goal: float, below: int
) -> Descent:
    """Follow backpropagation until the loss is at the goal, or the budget is spent.

    Parameters
    ----------
    context, draws
        Whose backend, and what to complete.
    rate
        ``η``, of gradients of ``1/(2N)``.
    budget
        How long, and how often to look.
    goal
        Loss at which a draw ends.
    below
        The rank of the matrices, from which on there are no saddles.
    """
    settings = TrainingSettings(objective="loss", optimiser=Sgd(), learning_rate=rate)
    trainer = draws.trainer(context, draws.problems, settings)
    course = Course.begin(len(draws), len(draws.problems[0].parameters))
    watch = _Watch(trainer, draws, goal, below)
    train(trainer, course, budget, batches=draws.batches(range(len(draws))), stop=watch)
    found = [saddle for draw in range(len(draws)) for saddle in watch.saddles(draw)]
    return Descent(course, watch.paths, found)


class _Watch:
    """Looks at every draw's network each time that training comes to the host.

    The norm of a gradient is known one run after the parameters that it belongs to, which wait for
    it.
    """

    def __init__(self, trainer: Trainer[Any], draws: Draws, goal: float, below: int) -> None:
        self._trainer, self._draws, self._goal, self._below = trainer, draws, goal, below
        self.paths = [Path() for _ in draws.problems]
        self._waiting = {draw: problem.parameters for draw, problem in enumerate(draws.problems)}
        self._floors: dict[int, Parameters] = {}
        self._saddles: dict[tuple[int, int], tuple[int, Parameters]] = {
            (draw, 0): (0, problem.parameters) for draw, problem in enumerate(draws.problems)
        }

    def __call__(self, course: Course) -> Bool[np.ndarray, " R"]:
        """Take the last run in, and say who is at the goal."""
        begun = int(course.recorded[-1])
        for draw, parameters in self._waiting.items():
            norm = float(np.linalg.norm(course.gradient_norms[-1, draw]))
            loss = float(course.losses[begun, draw])
            if np.isfinite(norm) and np.isfinite(loss):
                self._see(draw, begun, loss, norm, parameters)
        arrived = np.zeros(len(self.paths), bool)
        for draw in course.running:
            arrived[draw] = course.losses[begun:, draw].min() <= self._goal
        arrays = self._trainer.parameters()
        self._waiting = {
            # What comes from the trainer holds all draws: a copy lets go of the others.
            draw: [np.array(array[place]) for array in arrays]
            for place, draw in enumerate(self._waiting)
            if course.fates[draw] is None and not arrived[draw]
        }
        return arrived

    def _see(self, draw: int, step: int, loss: float, norm: float, parameters: Parameters) -> None:
        path, problem = self.paths[draw], self._draws.problems[draw].at(parameters)
        predictions = theory.feedforward(judged(problem), problem.x)[-1]
        left, lowest = path.add(step, loss, norm, numerical_rank(predictions, problem.y))
        if left is not None and 0 < path.ranks[left] < self._below:
            self._keep(draw, left)
        if lowest:
            self._floors[draw] = parameters

    def _keep(self, draw: int, look: int) -> None:
        """Keep the floor of a valley, unless one of the same rank is lower."""
        path, place = self.paths[draw], (draw, self.paths[draw].ranks[look])
        known = self._saddles.get(place)
        if known is None or path.gradient_norms[look] < path.gradient_norms[known[0]]:
            self._saddles[place] = look, self._floors[draw]

    def saddles(self, draw: int) -> list[Saddle]:
        """Return those of a draw, by rank."""
        found: list[Saddle] = []
        for rank in reversed(range(self._below)):
            if (draw, rank) in self._saddles:
                look, parameters = self._saddles[draw, rank]
                there = self._draws.problems[draw].at(parameters)
                step = self.paths[draw].steps[look]
                found.insert(0, Saddle(draw, rank, step, there, found[0] if found else None))
        return found
