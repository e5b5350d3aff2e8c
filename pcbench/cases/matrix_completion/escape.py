"""How many steps each learner takes to leave the same saddles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from pcbench.case import Context
from pcbench.cases.matrix_completion.draws import Draws, Masking
from pcbench.cases.matrix_completion.path import Saddle
from pcbench.contract import InferenceSettings, TrainingSettings
from pcbench.judges.training.curves import Budget, Course, Escapes, Scaling, learning_rule
from pcbench.statistics import Times, escape_times


@dataclass(frozen=True, slots=True)
class Way:
    """A way to train from a saddle.

    Attributes
    ----------
    learner
        ``BP`` or ``PC``.
    scaling
        How gradients are scaled.
    masking
        Whether targets that are not observed count. Backpropagation never sees them.
    """

    learner: str
    scaling: Scaling
    masking: Masking

    def __str__(self) -> str:
        published = [
            what
            for what, how in (("scaling", self.scaling), ("masking", self.masking))
            if how == "published"
        ]
        return f"{self.learner}, published {' and '.join(published)}" if published else self.learner

    def settings(self, draws: Draws, rate: float, inference: InferenceSettings) -> TrainingSettings:
        """Return the rule, with the learning rate as it was asked for."""
        samples = draws.samples, draws.outputs
        return learning_rule(self.learner, self.scaling, rate, samples, inference)


@dataclass(frozen=True, slots=True)
class SaddleEscapes(Escapes):
    """What became of the replicas that began at ``saddles``, in the order of these.

    Losses, and so times, are of the targets that count for the learner.
    """

    saddles: Sequence[Saddle]

    def at(self, rank: int) -> Bool[np.ndarray, " R"]:
        """Which replicas began at saddles of a rank."""
        return np.array([saddle.rank == rank for saddle in self.saddles], bool)


def escape(
    context: Context,
    draws: Draws,
    saddles: Sequence[Saddle],
    way: Way,
    settings: TrainingSettings,
    budget: Budget,
    *,
    fraction: float,
) -> SaddleEscapes:
    """Train from all saddles side by side until each replica has left.

    A replica has left when the loss, of the targets that count for its learner, is lower than at
    the saddle by a fraction: of that loss itself, which is known from the saddle alone, and depends
    on no other that the path may have passed or not. Of targets of rank ``r`` that are observed
    entirely, a linear network has at most ``r - k`` singular directions before it at a saddle of
    rank ``k``, and learns the largest first (Saxe et al. 2014), which has at least ``1/(r - k)`` of
    the loss: a fraction below ``1/r`` is reached within the first drop.

    Whoever has not left when the budget is spent is censored.
    """
    starts = [saddle.problem for saddle in saddles]
    trainer = draws.trainer(context, starts, settings, way.masking)
    heights = np.array([saddle.loss(way.masking) for saddle in saddles])

    def times(losses: Float[np.ndarray, "T R"]) -> Times:
        return escape_times(losses, heights, fraction=fraction, window=1)

    def have_left(course: Course) -> Bool[np.ndarray, " R"]:
        return times(course.losses[-budget.look :]).observed

    course = draws.train(trainer, [saddle.draw for saddle in saddles], budget, have_left)
    # The first loss is that of the saddle, before any step: no step is too early to be seen.
    return SaddleEscapes(course, replace(times(course.losses[1:]), visible=0.0), saddles)
