"""Training runs of a case: many replicas at once, each until it has ended in its own way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from pcbench.case import Context
from pcbench.contract import (
    InferenceSettings,
    Objective,
    Optimiser,
    Record,
    Sgd,
    Trainer,
    TrainingSettings,
)
from pcbench.judges.problem import rounded
from pcbench.networks import NetworkSpec
from pcbench.networks.initialisation import Initialisation
from pcbench.statistics import Times

Scaling = Literal["matched", "published"]
Fate = Literal["stopped", "diverged", "out of steps"]
"""How a replica ended: by the rule, by leaving for infinity, or with its budget spent."""

LEARNERS: dict[str, Objective] = {"BP": "loss", "PC": "energy"}

# A loss this many times its first one, or 1, is on its way to infinity: no optimum is that way.
_FAR = 1e6


Replicas = list[Float[np.ndarray, "R ..."]]


def learning_rule(
    learner: str,
    scaling: Scaling,
    rate: float,
    samples: tuple[int, int],
    inference: InferenceSettings,
    optimiser: Optimiser | None = None,
) -> TrainingSettings:
    """Return the rule by which a learner, ``BP`` or ``PC``, learns at the rate ``η``.

    ``samples`` are those of a step, and outputs of each. In ``matched`` scaling both objectives
    carry ``1/(2N)``. The published notebooks take, for BP, a mean over batch and outputs of squared
    errors, ``2/d_L`` times that; for PC a sum over the batch, ``N`` times: at the same step size
    PC's step is ``N d_L / 2`` times BP's. The optimiser is gradient descent if not given.
    """
    batch, outputs = samples
    published = {"BP": 2 / outputs, "PC": float(batch)}
    scale = published[learner] if scaling == "published" else 1.0
    return TrainingSettings(LEARNERS[learner], optimiser or Sgd(), rate, scale, inference)


class Course:
    """What became of ``R`` replicas, step by step; NaN from where a replica had ended.

    The arrays are those of a :class:`~pcbench.contract.Record` of the whole training. ``steps``
    says how many each replica took, and ``fates`` how each ended, ``None`` while it goes on.
    """

    def __init__(self, replicas: int, parameters: int) -> None:
        self.losses: Float[np.ndarray, "T R"] = np.empty((0, replicas))
        self.energies: Float[np.ndarray, "T R"] = np.empty((0, replicas))
        self.recorded: Int[np.ndarray, " K"] = np.empty(0, int)
        self.gradient_norms: Float[np.ndarray, "K R P"] = np.empty((0, replicas, parameters))
        self.parameter_norms: Float[np.ndarray, "K R P"] = np.empty((0, replicas, parameters))
        self.inference_steps: Float[np.ndarray, " K"] = np.empty(0)
        self.residuals: Float[np.ndarray, "K R"] = np.empty((0, replicas))
        self.steps: Int[np.ndarray, " R"] = np.zeros(replicas, int)
        self.fates: list[Fate | None] = [None] * replicas

    @property
    def running(self) -> Int[np.ndarray, " alive"]:
        """The replicas that have not ended."""
        return np.flatnonzero([fate is None for fate in self.fates])

    def spread(self, values: Num[np.ndarray, "K alive *P"]) -> Float[np.ndarray, "K R *P"]:
        """Put numbers of the running replicas where they belong, NaN elsewhere."""
        whole = np.full((len(values), len(self.fates), *values.shape[2:]), np.nan)
        whole[:, self.running] = values
        return whole

    def add(self, record: Record) -> None:
        """Take a run of the running replicas in."""
        self.recorded = _appended(self.recorded, len(self.losses) + record.recorded)
        self.inference_steps = _appended(self.inference_steps, record.inference_steps)
        for name in ("losses", "energies", "gradient_norms", "parameter_norms", "residuals"):
            rows = self.spread(getattr(record, name))
            setattr(self, name, _appended(getattr(self, name), rows))
        self.steps[self.running] += len(record.losses)

    def end(self, replicas: Bool[np.ndarray, " R"], fate: Fate) -> None:
        """Let replicas that still run end."""
        for index in np.flatnonzero(replicas):
            self.fates[index] = self.fates[index] or fate


def _appended(known: Num[np.ndarray, "..."], rows: Num[np.ndarray, "..."]) -> Any:
    """Return an array with more rows; it leaves room for as many again, so that few are copied."""
    length, buffer = len(known) + len(rows), known if known.base is None else known.base
    if len(buffer) < length:
        buffer = np.empty((2 * length, *known.shape[1:]), known.dtype)
        buffer[: len(known)] = known
    buffer[len(known) : length] = rows
    return buffer[:length]


def looks(
    trainer: Trainer[Any],
    course: Course,
    steps: int,
    look: int,
    *,
    every: int = 1,
    single: bool = False,
    batches: Callable[[int, int], Int[np.ndarray, "T *R N"]] | None = None,
    stop: Callable[[Course], Bool[np.ndarray, " R"]] | None = None,
) -> Iterator[Int[np.ndarray, " alive"]]:
    """Train the replicas that run until each has ended, and pause at every look.

    Yields which replicas the trainer has, in its order: those of the course that run. The course is
    added to, and says at any time how far training is.

    Parameters
    ----------
    steps, look, every
        After so many ``steps`` every replica ends; after every ``look`` training pauses, and
        nothing comes to the host in between. Norms are recorded ``every`` so many steps of a look.
    single
        The second look is one step long, so that a step of a long run can be judged.
    batches
        Returns the batches from one step up to another, of all replicas ``(T, R, N)`` whether they
        run or not, or the same for all; ``None`` for all data at every step.
    stop
        Looks at the course after the pause, and says who is to end.
    """
    while len(alive := course.running):
        begun = len(course.losses)
        if begun >= steps:
            course.end(np.ones(len(course.fates), bool), "out of steps")
            break
        ahead = min(1 if single and begun == look else look, steps - begun)
        rows = None if batches is None else batches(begun, begun + ahead)
        if rows is not None and rows.ndim == 3:
            rows = rows[:, alive]
        course.add(trainer.run(ahead, rows, every))
        yield alive
        bound = _FAR * np.maximum(course.losses[0], 1.0)
        # In this form NaN counts as far.
        course.end(~(course.losses[begun:] <= bound).all(axis=0), "diverged")
        if stop is not None:
            course.end(stop(course), "stopped")
        on = [place for place, index in enumerate(alive) if course.fates[index] is None]
        if 0 < len(on) < len(alive):
            trainer.keep(on)


@dataclass(frozen=True, slots=True)
class Escapes:
    """The training of a learner's replicas that began near saddles, and when each left."""

    course: Course
    times: Times

    @property
    def lost(self) -> Bool[np.ndarray, " R"]:
        """Which replicas diverged before they had left."""
        diverged = np.array([fate == "diverged" for fate in self.course.fates])
        return np.asarray(diverged & ~self.times.observed)

    @property
    def first_gradients(self) -> Float[np.ndarray, " R"]:
        """``‖∇‖`` of the learner's objective where replicas began, over all parameters."""
        return np.asarray(np.linalg.norm(self.course.gradient_norms[0], axis=-1))


def draw_seeds(
    context: Context, network: NetworkSpec, initialisation: Initialisation, seeds: int
) -> Replicas:
    """Draw initial weights, then biases, of every seed, rounded to the dtype.

    The streams are ``weights`` and ``biases``; the first seeds are the same however many there are.
    """
    weights, biases = context.rng("weights"), context.rng("biases")
    draws = [
        [*initialisation.draw(network, weights), *initialisation.draw_biases(network, biases)]
        for _ in range(seeds)
    ]
    context.saw("weights of all seeds", *(array for draw in draws for array in draw))
    dtype = context.backend.dtype
    return [np.stack(rounded(arrays, dtype)) for arrays in zip(*draws, strict=True)]


@dataclass(slots=True)
class Batches:
    """Every seed's samples, shuffled anew in every epoch; what is left over sits out.

    ``shuffler`` returns the random stream of an epoch, so that no epoch depends on another.
    """

    samples: int
    size: int
    seeds: int
    shuffler: Callable[[int], np.random.Generator]
    _latest: tuple[int, Int[np.ndarray, "T R N"]] | None = None

    @property
    def epoch(self) -> int:
        """Steps of an epoch."""
        return self.samples // self.size

    def __call__(self, start: int, stop: int) -> Int[np.ndarray, "T R N"]:
        """Return the batches of steps ``start`` up to ``stop``, of all seeds."""
        first = start // self.epoch
        epochs = [self._of(epoch) for epoch in range(first, (stop - 1) // self.epoch + 1)]
        begin = first * self.epoch
        return np.concatenate(epochs)[start - begin : stop - begin]

    def _of(self, epoch: int) -> Int[np.ndarray, "T R N"]:
        if self._latest is None or self._latest[0] != epoch:
            rng = self.shuffler(epoch)
            rows = np.stack([rng.permutation(self.samples) for _ in range(self.seeds)])
            rows = rows[:, : self.epoch * self.size].reshape(self.seeds, self.epoch, self.size)
            self._latest = epoch, np.ascontiguousarray(rows.transpose(1, 0, 2))
        return self._latest[1]
