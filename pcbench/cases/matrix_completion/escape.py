"""How many steps each learner takes to leave the same saddles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from pcbench.cases.matrix_completion.draws import Draws
from pcbench.cases.matrix_completion.path import Saddle
from pcbench.cases.matrix_completion.ways import Way
from pcbench.judges.training.curves import Course, Escapes
from pcbench.statistics import Times, escape_times


@dataclass(frozen=True, slots=True)
class SaddleEscapes(Escapes):
    """What became of the replicas that began at ``saddles``, in the order of these.

    Losses, and so times, are of the targets that count for the learner.
    """

    saddles: Sequence[Saddle]

    def at(self, rank: int) -> Bool[np.ndarray, " R"]:
        """Which replicas began at saddles of a rank."""
        return np.array([saddle.rank == rank for saddle in self.saddles], bool)


def escape(draws: Draws, saddles: Sequence[Saddle], way: Way) -> SaddleEscapes:
    """Train from all saddles side by side until each replica has left.

    A replica has left when the loss, of the targets that count for its learner, is lower than at
    the saddle by a fraction: of that loss itself, which is known from the saddle alone, and depends
    on no other that the path may have passed or not. Of targets of rank ``r`` that are observed
    entirely, a linear network has at most ``r - k`` singular directions before it at a saddle of
    rank ``k``, and learns the largest first (Saxe et al. 2014), which has at least ``1/(r - k)`` of
    the loss: a fraction below ``1/r`` is reached within the first drop.

    Whoever has not left when ``escape.steps`` are spent is censored.
    """
    asked, heights = draws.asked, np.array([saddle.loss(way.masking) for saddle in saddles])
    budget = draws.budget(asked.escape.steps)

    def times(losses: Float[np.ndarray, "T R"]) -> Times:
        return escape_times(losses, heights, fraction=asked.escape.fraction, window=1)

    def have_left(course: Course) -> Bool[np.ndarray, " R"]:
        return times(course.losses[-budget.look :]).observed

    trainer = draws.trainer([saddle.problem for saddle in saddles], way)
    course = draws.train(trainer, [saddle.draw for saddle in saddles], budget, have_left)
    # The first loss is that of the saddle, before any step: no step is too early to be seen.
    return SaddleEscapes(course, replace(times(course.losses[1:]), visible=0.0), saddles)
