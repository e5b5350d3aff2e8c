"""One learner's training from near the origin, all seeds side by side."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pcbench.case import CaseSkippedError, Context
from pcbench.cases.origin_escape.parameters import Parameters
from pcbench.contract import Trainer, TrainingSettings
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.training.curves import (
    Batches,
    Course,
    Escapes,
    Replicas,
    Scaling,
    draw_seeds,
    learning_rule,
    looks,
)
from pcbench.statistics import Times, escape_times

MAX_TRAJECTORY = 16
"""Parameters of a network whose every step is kept."""

TESTED = 500
"""Samples that are tested at once, so that activities of large networks fit."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where both learners start, and what they see.

    ``problem`` has the training samples and the first seed's parameters; ``seeds`` are the initial
    parameters of all. ``batches`` is ``None`` where every step sees all samples, and ``staged`` are
    the training samples on the device, for all trainers.
    """

    context: Context
    asked: Parameters
    problem: Problem
    seeds: Replicas
    batches: Batches | None
    test: tuple[Float[np.ndarray, "M d_0"], Float[np.ndarray, "M d_L"]] | None
    staged: tuple[Any, Any]

    @classmethod
    def pose(cls, context: Context, asked: Parameters) -> Start:
        """Load samples, draw weights, and shuffle."""
        problem = Problem.pose(context, asked.data, asked.network)
        if asked.trajectories and problem.network.n_parameters > MAX_TRAJECTORY:
            raise CaseSkippedError(
                f"a trajectory of {problem.network.n_parameters} parameters is no plot; leave "
                f"trajectories out, or use a network with at most {MAX_TRAJECTORY}"
            )
        initialisation = asked.network.initialisation
        seeds = draw_seeds(context, problem.network, initialisation, asked.seeds)
        batches = None
        if asked.training.batch is not None:
            batches = Batches(
                len(problem.x),
                asked.training.batch,
                asked.seeds,
                lambda epoch: context.rng(f"batches of epoch {epoch}"),
            )
        test = None
        if asked.test is not None:
            samples = context.load(asked.test_data, "test")
            x, y = rounded([samples.x.reshape(asked.test, -1), samples.y], context.backend.dtype)
            test = x, y
        backend = context.backend
        staged = backend.to_device(problem.x), backend.to_device(problem.y)
        return cls(context, asked, problem, seeds, batches, test, staged)

    @property
    def batch(self) -> int:
        """Samples of a step."""
        return len(self.problem.x) if self.batches is None else self.batches.size

    @property
    def epoch(self) -> int:
        """Steps of an epoch."""
        return 1 if self.batches is None else self.batches.epoch

    def no_saddle(self) -> str:
        """Say why seeds do not begin near the saddle at the origin; nothing if they do.

        Near it every layer passes on less than comes in, so that products of layers are smaller
        than any of them, which is what makes it a saddle (theory.md 2.4).
        """
        layers = self.seeds[: self.problem.network.n_layers]
        flat = [layer.reshape(*layer.shape[:2], -1) for layer in layers]
        largest = max(float(np.linalg.norm(layer, 2, axis=(1, 2)).max()) for layer in flat)
        if largest < 1:
            return ""
        return (
            "There is no saddle to leave: a layer of the initial weights has spectral norm "
            f"{largest:.3g}, and near the saddle at the origin all are below 1; write "
            "initialisation: near_origin, or give it a smaller std."
        )

    def settings(self, learner: str, scaling: Scaling) -> TrainingSettings:
        """Return the rule by which a learner learns."""
        asked, samples = self.asked, (self.batch, self.problem.y.shape[1])
        rate, optimiser = asked.training.rate(scaling), asked.training.optimiser
        return learning_rule(learner, scaling, rate, samples, asked.inference, optimiser)

    def trainer(self, learner: str, scaling: Scaling) -> Trainer[Any]:
        """Begin to train all seeds."""
        backend = self.context.backend
        model = backend.build(self.problem.network, self.seeds)
        return backend.trainer(model, *self.staged, self.settings(learner, scaling))

    def first_batches(self, steps: int) -> Int[np.ndarray, "T R N"] | None:
        """Return the batches of the first steps; ``None`` where these see all samples."""
        return None if self.batches is None else self.batches(0, steps)


@dataclass(slots=True)
class Tests:
    """Test losses and accuracies, of looks and seeds; NaN of seeds that had ended.

    An accuracy is the part of the samples whose largest output is their class; there are none where
    there are no classes.
    """

    steps: list[int] = field(default_factory=list)
    losses: list[Float[np.ndarray, " R"]] = field(default_factory=list)
    accuracies: list[Float[np.ndarray, " R"]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Later:
    """A step that training took after its first look, counted from 0, by the seeds alive then."""

    step: int
    alive: Int[np.ndarray, " alive"]
    before: Replicas
    after: Replicas


@dataclass(frozen=True, slots=True)
class Outcome(Escapes):
    """What became of one learner.

    ``trajectory`` has all parameters after every look, where asked for, NaN of seeds that had
    ended; ``later`` is the step after the first look, if there was one.
    """

    tests: Tests
    trajectory: list[Float[np.ndarray, "R P"]]
    later: Later | None


def train(start: Start, learner: str, scaling: Scaling) -> Outcome:
    """Train one learner in one scaling, all seeds side by side, until every seed has ended."""
    asked, trainer = start.asked, start.trainer(learner, scaling)
    course, tests = Course(asked.seeds, len(start.seeds)), Tests()
    trajectory = [_where(trainer, course)] if asked.trajectories else []
    total = asked.training.budget(start.epoch)
    look = 1 if asked.trajectories else min(asked.training.look, total)
    pauses = looks(
        trainer,
        course,
        total,
        look,
        every=asked.training.every,
        single=asked.judged > 0,
        batches=start.batches,
        stop=lambda course: _stopped(start, course, tests),
    )
    stage = f"{learner}, {scaling} scaling"
    begun: tuple[Int[np.ndarray, " alive"], Replicas] | None = None
    later = None
    for alive in start.context.progress(stage, pauses, -(-total // look) + 1):
        if asked.judged and len(course.losses) == look:
            begun = alive, trainer.parameters()
        elif begun is not None and later is None:
            went_on = np.isin(begun[0], alive)
            before = [array[went_on] for array in begun[1]]
            later = Later(look, alive, before, trainer.parameters())
        if start.test is not None:
            add_tests(start, trainer, course, tests)
        if asked.trajectories:
            trajectory.append(_where(trainer, course))
    return Outcome(course, _escaped(start, course), tests, trajectory, later)


def _escaped(start: Start, course: Course) -> Times:
    """Return when each seed left the saddle, as far as the course goes.

    It has the loss of all training samples where the network's output is zero. A seed that has left
    for infinity instead tells nothing: it is censored at 0.
    """
    escape, y = start.asked.escape, start.problem.y
    saddle = np.full(start.asked.seeds, float(np.sum(y**2) / (2 * len(y))))
    times = escape_times(course.losses, saddle, fraction=escape.fraction, window=escape.window)
    return replace(times, times=np.where(Escapes(course, times).lost, 0.0, times.times))


def _stopped(start: Start, course: Course, tests: Tests) -> Bool[np.ndarray, " R"]:
    rule, window = start.asked.training.stop, start.asked.escape.window
    gone = _escaped(start, course).observed
    ended = gone & rule.escaped
    if rule.loss is not None and len(course.losses) >= window:
        ended |= course.losses[-window:].mean(0) < rule.loss
    if rule.test_loss is not None and tests.losses:
        ended |= tests.losses[-1] < rule.test_loss
    if rule.epoch_gain is not None:
        ended |= gone & (_last_gain(course.losses, start.epoch) < rule.epoch_gain)
    return ended


def add_tests(start: Start, trainer: Trainer[Any], course: Course, tests: Tests) -> None:
    """Add the losses and accuracies of the running seeds on the test samples, if there are any."""
    assert start.test is not None  # for the type checker: see the caller
    (x, y), backend, model = start.test, start.context.backend, trainer.model
    parts = (backend.to_device(x[begin : begin + TESTED]) for begin in range(0, len(x), TESTED))
    outputs = np.concatenate([backend.to_host(model.predict(part)) for part in parts], axis=1)
    tests.steps.append(len(course.losses))
    losses = ((outputs - y) ** 2).sum((1, 2)) / (2 * len(y))
    tests.losses.append(course.spread(losses[None])[0])
    if _are_classes(y):
        right = (outputs.argmax(2) == y.argmax(1)).mean(1)
        tests.accuracies.append(course.spread(right[None])[0])


def _where(trainer: Trainer[Any], course: Course) -> Float[np.ndarray, "R P"]:
    parameters = [array.reshape(1, len(array), -1) for array in trainer.parameters()]
    where: Float[np.ndarray, "R P"] = course.spread(np.concatenate(parameters, axis=2))[0]
    return where


def _last_gain(losses: Float[np.ndarray, "T R"], epoch: int) -> Float[np.ndarray, " R"]:
    """By how much the mean loss of the last whole epoch is below that of the one before."""
    epochs = len(losses) // epoch
    if epochs < 2:
        return np.full(losses.shape[1], np.inf)
    means = losses[(epochs - 2) * epoch : epochs * epoch].reshape(2, epoch, -1).mean(1)
    gain: Float[np.ndarray, " R"] = means[0] - means[1]
    return gain


def _are_classes(y: Float[np.ndarray, "M d_L"]) -> bool:
    """Whether targets are one-hot."""
    return y.shape[1] > 1 and bool((((y == 0) | (y == 1)).all(1) & (y.sum(1) == 1)).all())
