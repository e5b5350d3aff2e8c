"""The end of training, where what predictive coding wins at saddles may be lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pcbench.cases.matrix_completion.draws import Draws
from pcbench.cases.matrix_completion.path import Descent
from pcbench.cases.matrix_completion.ways import Way
from pcbench.judges.training.curves import Course
from pcbench.statistics import Interval, Times, paired_ratio


@dataclass(frozen=True, slots=True)
class Finish:
    """PC's steps from near the origin to the loss at which paths stop, and those of BP's paths."""

    way: Way
    draws: Sequence[int]
    ours: Times
    theirs: Times

    @property
    def ratio(self) -> Interval | None:
        """How many times as long PC takes; ``None`` without draws."""
        if not self.draws:
            return None
        return paired_ratio(self.ours, self.theirs)


def finish(draws: Draws, descent: Descent, way: Way) -> Finish:
    """Train from near the origin to the loss at which paths stop, with as many steps.

    Of the targets that count for the learner; in the first draws whose path was stable.
    """
    asked, budget = draws.asked, draws.budget(draws.asked.training.steps)
    goal = asked.training.stop
    stable = [draw for draw in range(len(draws)) if draw not in descent.unstable]
    chosen = stable[: asked.escape.finish]

    def arrived(course: Course) -> Bool[np.ndarray, " R"]:
        return _arrivals(course.losses[-budget.look :], goal).observed

    starts = [draws.problems[draw] for draw in chosen] or draws.problems
    ours = draws.train(draws.trainer(starts, way), chosen, budget, arrived).losses
    theirs = descent.course.losses[:, chosen]
    return Finish(way, chosen, _arrivals(ours, goal), _arrivals(theirs, goal))


def _arrivals(losses: Float[np.ndarray, "T R"], goal: float) -> Times:
    """Return after how many steps a loss is at the goal; of losses before each step."""
    there = losses <= goal
    seen = np.asarray(there.any(axis=0))
    last = np.isfinite(losses).sum(axis=0)
    # A loss that was there before any step is there after one.
    return Times(np.where(seen, np.maximum(np.argmax(there, axis=0), 1), last).astype(float), seen)
