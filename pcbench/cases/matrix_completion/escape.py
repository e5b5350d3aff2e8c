"""How many steps each learner takes to leave the same saddles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pcbench.case import Context
from pcbench.cases.matrix_completion.draws import Draws, Masking
from pcbench.cases.matrix_completion.path import Saddle
from pcbench.contract import InferenceSettings, Sgd, TrainingSettings
from pcbench.judges.training.curves import LEARNERS, Budget, Course, Scaling, scale, train
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
        objective = LEARNERS[self.learner]
        return TrainingSettings(
            objective=objective,
            optimiser=Sgd(),
            learning_rate=rate,
            scale=scale(self.scaling, objective, draws.samples, draws.outputs),
            inference=inference,
        )


@dataclass(frozen=True, slots=True)
class Escapes:
    """What became of the replicas that began at saddles, in the order of these.

    Attributes
    ----------
    saddles
        Where they began.
    course
        Their losses, each of the targets that count for its learner.
    times
        Steps until the loss had fallen far enough.
    """

    saddles: Sequence[Saddle]
    course: Course
    times: Times

    def gradient_norms(self) -> Float[np.ndarray, " R"]:
        """``‖∇‖`` of the learner's objective at the saddles, over all parameters."""
        norms: Float[np.ndarray, " R"] = np.linalg.norm(self.course.gradient_norms[0], axis=-1)
        return norms

    def of_rank(self, rank: int) -> Times:
        """Return the times from saddles of one rank, in the order of draws."""
        chosen = np.array([saddle.rank == rank for saddle in self.saddles])
        return Times(self.times.times[chosen], self.times.observed[chosen])


def escape(
    context: Context,
    draws: Draws,
    saddles: Sequence[Saddle],
    way: Way,
    settings: TrainingSettings,
    budget: Budget,
    *,
    fraction: float,
) -> Escapes:
    """Train from all saddles side by side until each replica has left.

    A replica has left when the loss, of the targets that count for its learner, is lower than at
    the saddle by a fraction: of that loss itself, which is known from the saddle alone, and depends
    on no other that the path may have passed or not. Of targets of rank ``r`` that are observed
    entirely, a linear network has at most ``r - k`` singular directions before it at a saddle of
    rank ``k``, and learns the largest first (Saxe et al. 2014), which has at least ``1/(r - k)`` of
    the loss: a fraction below ``1/r`` is reached within the first drop.

    Parameters
    ----------
    context, draws, saddles
        Whose backend, and where replicas begin.
    way, settings
        By which rule.
    budget
        How long; whoever has not left by its end is censored.
    fraction
        Of the saddle's loss, by which the loss must fall.
    """
    starts = [saddle.problem for saddle in saddles]
    trainer = draws.trainer(context, starts, settings, way.masking)
    heights = np.array([saddle.loss(way.masking) for saddle in saddles])

    def times(losses: Float[np.ndarray, "T R"]) -> Times:
        return escape_times(losses, heights, fraction=fraction, window=1)

    def have_left(course: Course) -> Bool[np.ndarray, " R"]:
        return times(course.losses[-budget.look :]).observed

    course = Course.begin(len(saddles), len(starts[0].parameters))
    rows = draws.batches([saddle.draw for saddle in saddles])
    train(trainer, course, budget, batches=rows, stop=have_left)
    # The first loss is that of the saddle, before any step.
    return Escapes(saddles, course, times(course.losses[1:]))
