"""Backpropagation from near the origin, and the saddles that it passes or ends at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from pcbench.cases.matrix_completion.criteria import is_saddle
from pcbench.cases.matrix_completion.draws import Draws, whole
from pcbench.cases.matrix_completion.saddles import Path, numerical_rank
from pcbench.cases.matrix_completion.ways import Masking, Way
from pcbench.contract import Trainer
from pcbench.judges.problem import Problem, Weights
from pcbench.judges.training.curves import Course
from pcbench.theory.nonlinear.layered import feedforward, layered_loss
from pcbench.theory.rounding.bounds import unit_roundoff


@dataclass(frozen=True, slots=True)
class Seen:
    """What the backend said of a point on its path: ``𝓛``, and ``‖∂𝓛/∂W_l‖`` by layer."""

    loss: float
    gradient_norms: Float[np.ndarray, " L"]


@dataclass(frozen=True, slots=True)
class Saddle:
    """A saddle of a rank on the path of a draw, where backpropagation was after so many steps.

    ``problem`` is the draw's matrix and the network there; ``seen`` what the path had there, and
    ``None`` if nothing was recorded.
    """

    draw: int
    rank: int
    step: int
    problem: Problem
    seen: Seen | None = None

    def loss(self, masking: Masking) -> float:
        """Return ``𝓛`` here, of all targets, or those observed."""
        problem = whole(self.problem) if masking == "published" else self.problem
        return layered_loss(problem.layered, problem.x, problem.y, problem.precision)

    def __str__(self) -> str:
        return f"draw {self.draw + 1}, rank {self.rank}"


@dataclass(frozen=True, slots=True)
class Descent:
    """What came of the paths, one a draw, with saddles in the order of draws and ranks.

    ``unstable`` has the step at which a draw's loss rose, so that its path ended, and ``dropped``
    how many points of rest of a draw were no saddles by the criteria.
    """

    course: Course
    paths: Sequence[Path]
    saddles: Sequence[Saddle]
    unstable: dict[int, int]
    dropped: Counter[int]


def descend(draws: Draws) -> Descent:
    """Follow backpropagation until the loss is at its goal, or rises, or the budget is spent.

    Gradient descent whose steps are short beside the curvature lowers the loss at every step. From
    the first step at which it rises by more than half of the dtype's digits, a draw takes no part.

    A draw that still rests at a saddle when its budget is spent has that saddle like any other:
    those that take the longest to leave must not be missing from the comparison.
    """
    trainer = draws.trainer(draws.problems, Way("BP", "matched", "matched"))
    watch = _Watch(trainer, draws)
    budget = draws.budget(draws.asked.training.steps)
    course = draws.train(trainer, range(len(draws)), budget, watch)
    watch.close(course)
    return Descent(course, watch.paths, watch.saddles(), watch.unstable, watch.dropped)


class _Watch:
    """Looks at every draw's network each time that training comes to the host.

    The norm of a gradient is known one run after the parameters that it belongs to, which wait for
    it.
    """

    def __init__(self, trainer: Trainer[Any], draws: Draws) -> None:
        self._trainer, self._draws, self._goal = trainer, draws, draws.asked.training.stop
        self._rise = 1 + float(np.sqrt(unit_roundoff(draws.context.backend.dtype)))
        self.paths = [Path() for _ in draws.problems]
        self.unstable: dict[int, int] = {}
        self.dropped: Counter[int] = Counter()
        self._waiting = {draw: problem.parameters for draw, problem in enumerate(draws.problems)}
        self._floors: dict[int, tuple[Seen, Weights]] = {}
        self._found = {
            (draw, 0): Saddle(draw, 0, 0, problem) for draw, problem in enumerate(draws.problems)
        }

    def __call__(self, course: Course) -> Bool[np.ndarray, " R"]:
        """Take the last run in, and say whose path ends here."""
        begun = int(course.recorded[-1])
        for draw, weights in self._waiting.items():
            seen = Seen(float(course.losses[begun, draw]), course.gradient_norms[-1, draw])
            if begun == 0:
                self._found[draw, 0] = Saddle(draw, 0, 0, self._draws.problems[draw], seen)
            risen = self._risen(course, draw, begun)
            if risen is not None:
                self.unstable[draw] = risen
            elif np.isfinite(seen.gradient_norms).all():
                self._see(draw, begun, seen, weights)
        ended = np.zeros(len(self.paths), bool)
        for draw in course.running:
            arrived = course.losses[begun:, draw].min() <= self._goal
            ended[draw] = arrived or draw in self.unstable
        arrays = self._trainer.parameters()
        self._waiting = {
            # What comes from the trainer holds all draws: a copy lets go of the others.
            draw: [np.array(array[place]) for array in arrays]
            for place, draw in enumerate(self._waiting)
            if course.fates[draw] is None and not ended[draw]
        }
        return ended

    def _risen(self, course: Course, draw: int, begun: int) -> int | None:
        """Return the first step of the last run after which the loss was higher, or not finite."""
        losses = course.losses[max(begun - 1, 0) :, draw]
        fell = losses[1:] <= self._rise * losses[:-1]
        if np.isfinite(losses[0]) and fell.all():
            return None
        return max(begun, 1) + int(np.argmin(fell)) if fell.size else begun

    def _see(self, draw: int, step: int, seen: Seen, weights: Weights) -> None:
        path, problem = self.paths[draw], self._draws.problems[draw].at(weights)
        predictions = feedforward(problem.layered, problem.x)[-1]
        norm, rank = (
            float(np.linalg.norm(seen.gradient_norms)),
            numerical_rank(predictions, problem.y),
        )
        left, lowest = path.add(step, seen.loss, norm, rank)
        if left is not None:
            self._keep(draw, left)
        if lowest:
            self._floors[draw] = seen, weights

    def close(self, course: Course) -> None:
        """Keep where draws rest whose budget is spent."""
        for draw, path in enumerate(self.paths):
            look = path.resting()
            if course.fates[draw] == "out of steps" and look is not None:
                self._keep(draw, look)

    def _keep(self, draw: int, look: int) -> None:
        """Keep the floor of a valley, unless one of the same rank is lower, or it is no saddle."""
        path = self.paths[draw]
        rank = path.ranks[look]
        if not 0 < rank < self._draws.asked.data.rank:
            return
        seen, weights = self._floors[draw]
        saddle = Saddle(draw, rank, path.steps[look], self._draws.problems[draw].at(weights), seen)
        if not is_saddle(saddle.problem, rank):
            self.dropped[draw] += 1
            return
        known = self._found.get((draw, rank))
        if known is None or _height(saddle) < _height(known):
            self._found[draw, rank] = saddle

    def saddles(self) -> list[Saddle]:
        """Return those found, in the order of draws and ranks."""
        return [self._found[place] for place in sorted(self._found)]


def _height(saddle: Saddle) -> float:
    return float(np.linalg.norm(saddle.seen.gradient_norms)) if saddle.seen else np.inf
