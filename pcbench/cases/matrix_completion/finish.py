"""The end of training, where what predictive coding wins at saddles may be lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pcbench.case import Context
from pcbench.cases.matrix_completion.draws import Draws
from pcbench.cases.matrix_completion.escape import Way
from pcbench.cases.matrix_completion.path import Descent
from pcbench.contract import TrainingSettings
from pcbench.judges.training.curves import Budget, Course
from pcbench.statistics import Interval, Times, paired_ratio


@dataclass(frozen=True, slots=True)
class Finish:
    """Steps from near the origin to the loss at which paths stop, in the same draws.

    Attributes
    ----------
    way
        How PC went.
    draws
        Which.
    ours, theirs
        PC's steps, and those of BP's paths.
    """

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


def finish(
    context: Context,
    draws: Draws,
    descent: Descent,
    way: Way,
    settings: TrainingSettings,
    budget: Budget,
    goal: float,
    most: int,
) -> Finish:
    """Train from near the origin to the goal, with the budget that BP's paths had.

    Parameters
    ----------
    context, draws, descent, budget
        As of the paths of BP, which ``descent`` holds.
    way, settings
        By which rule.
    goal
        Loss at which paths stop, of the targets that count for the learner.
    most
        How many draws are taken, the first whose path was stable.
    """
    chosen = [draw for draw in range(len(draws)) if draw not in descent.unstable][:most]
    starts = [draws.problems[draw] for draw in chosen] or draws.problems
    trainer = draws.trainer(context, starts, settings, way.masking)

    def arrived(course: Course) -> Bool[np.ndarray, " R"]:
        return _arrivals(course.losses[-budget.look :], goal).observed

    ours = draws.train(trainer, chosen, budget, arrived).losses
    theirs = descent.course.losses[:, chosen]
    return Finish(way, chosen, _arrivals(ours, goal), _arrivals(theirs, goal))


def _arrivals(losses: Float[np.ndarray, "T R"], goal: float) -> Times:
    """Return after how many steps a loss is at the goal; of losses before each step."""
    there = losses <= goal
    seen = np.asarray(there.any(axis=0))
    last = np.isfinite(losses).sum(axis=0)
    # A loss that was there before any step is there after one.
    return Times(np.where(seen, np.maximum(np.argmax(there, axis=0), 1), last).astype(float), seen)
