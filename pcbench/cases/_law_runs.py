"""Runs that leave the origin from several scales, every scale and seed a replica of one trainer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pcbench.backends import Sgd, TrainingSettings
from pcbench.cases._problem import Problem, rounded
from pcbench.cases._seeds import Replicas, draw_seeds
from pcbench.cases._training import Budget, Course, looks
from pcbench.cases.base import Context
from pcbench.networks import NearOrigin
from pcbench.statistics import escape_times


@dataclass(frozen=True, slots=True)
class Escapes:
    """Steps until loss and energy had fallen, ``(scales, seeds)``; infinite where neither did."""

    loss: Float[np.ndarray, "scales seeds"]
    energy: Float[np.ndarray, "scales seeds"]

    @property
    def everywhere(self) -> int:
        """How many scales, from the largest on, every seed left from, by both measures."""
        left = np.isfinite(self.loss).all(axis=1) & np.isfinite(self.energy).all(axis=1)
        return int(np.argmin(np.append(left, False)))


def scaled_draws(
    context: Context, problem: Problem, scales: Float[np.ndarray, " scales"], seeds: int
) -> Replicas:
    """Return ``σ`` times one standard normal draw a seed, seeds running fastest, ``(R, …)`` each.

    So that of one seed, a time depends on ``σ`` and on nothing else.
    """
    dtype = context.backend.dtype
    rngs = context.rng("weights"), context.rng("biases")
    draws = draw_seeds(problem.network, NearOrigin(std=1.0), seeds, rngs, dtype)
    weights = [
        (scales[:, None, None, None] * layer).reshape(-1, *layer.shape[1:]) for layer in draws
    ]
    return rounded(weights, dtype)


def leave(
    context: Context,
    problem: Problem,
    weights: Replicas,
    settings: TrainingSettings,
    *,
    stage: str,
    look: int,
    seeds: int,
    fraction: float,
    max_steps: int,
) -> Escapes:
    """Train every replica until its loss and its energy have fallen, or the budget is spent."""
    if not isinstance(settings.optimiser, Sgd):
        raise ValueError("the laws are about gradient descent")
    backend = context.backend
    trainer = backend.build(problem.network, weights).trainer(
        backend.to_device(problem.x), backend.to_device(problem.y), settings
    )
    replicas = len(weights[0])
    course = Course.begin(replicas, len(weights))
    fallen = np.zeros((2, replicas), bool)

    def both_have_fallen(course: Course) -> Bool[np.ndarray, " R"]:
        for known, values in zip(fallen, (course.losses, course.energies), strict=True):
            known |= (values[-look:] <= (1 - fraction) * values[0]).any(axis=0)
        return np.asarray(fallen.all(axis=0))

    training = looks(trainer, course, Budget(max_steps, look, every=look), stop=both_have_fallen)
    for _ in context.progress(stage, training, -(-max_steps // look)):
        pass
    loss, energy = (
        _first_below(values, fraction).reshape(-1, seeds)
        for values in (course.losses, course.energies)
    )
    return Escapes(loss, energy)


def _first_below(values: Float[np.ndarray, "T R"], fraction: float) -> Float[np.ndarray, " R"]:
    """Return after how many updates of the parameters values had fallen; infinite where never.

    One that is no number at the start never falls.
    """
    sound = np.isfinite(values[0]) & (values[0] > 0)
    times = escape_times(values, np.where(sound, values[0], 1.0), fraction=fraction, window=1)
    # Steps are counted from 1 there, and the first has seen no update.
    return np.where(sound, times.latest - 1, np.inf)
