"""Runs that leave the origin from several scales, and chains of single units, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pcbench.case import Context
from pcbench.cases.escape_law.fits import Bounds, power_of_shifted_logarithm
from pcbench.cases.escape_law.parameters import Parameters
from pcbench.contract import Objective
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.training.curves import (
    LEARNERS,
    Course,
    Replicas,
    draw_seeds,
    learning_rule,
    looks,
)
from pcbench.networks import NearOrigin
from pcbench.statistics import escape_times
from pcbench.theory.dynamics.escape import RISE, escape_exponent, standing, steps_to_fall

SOON, SELDOM = 100, 1000
"""Steps between two looks at who has left: few of little, and few looks at much."""

DOUBLED = 1.0
"""Of the first loss: a loss is no energy, but nowhere near an origin it rises by as much."""


_FACTORS = (0.5, 1.0, 2.0)
"""Rows vary in length, from row to row and layer to layer."""

_BENT = 0.5
"""Of its potential, tanh passes that on at 1.9: more than the activities are by the escape."""


@dataclass(frozen=True, slots=True)
class Left:
    """A learner's runs, and when loss and energy fell in them, ``(scales, seeds)``."""

    learner: str
    objective: Objective
    scales: Float[np.ndarray, " scales"]
    weights: Replicas
    loss: Bounds
    energy: Bounds
    rose_at: Float[np.ndarray, " R"]
    """After which step a run had risen (:func:`rises`), before both had fallen, or infinity."""

    @property
    def lost(self) -> Bool[np.ndarray, " R"]:
        """Which runs have not left."""
        fell = np.isfinite(self.loss.upper) & np.isfinite(self.energy.upper)
        return np.asarray(~fell.ravel())

    @property
    def everywhere(self) -> int:
        """How many scales, from the largest on, every seed left from, by both measures."""
        left = ~self.lost.reshape(self.loss.upper.shape)
        return int(np.argmin(np.append(left.all(axis=1), False)))

    @property
    def measures(self) -> dict[Objective, Bounds]:
        """What fell: of backpropagation the energy is the loss."""
        fell: dict[Objective, Bounds] = {"loss": self.loss}
        return fell if self.objective == "loss" else {**fell, "energy": self.energy}


def leave(context: Context, problem: Problem, asked: Parameters, learner: str) -> Left:
    """Train from every scale until loss and energy have fallen, or the budget is spent.

    Initial weights are ``σ`` times one standard normal draw a seed, seeds running fastest, so that
    of one seed, a time depends on ``σ`` and on nothing else.
    """
    objective, training, fraction = LEARNERS[learner], asked.training, asked.fraction
    quick = objective == "energy" or escape_exponent(problem.network.n_layers) == 0
    scales, look = asked.scales.all(further=quick), SOON if quick else SELDOM
    draws = draw_seeds(context, problem.network, NearOrigin(std=1.0), asked.seeds)
    weights = rounded(
        [(scales[:, None, None, None] * layer).reshape(-1, *layer.shape[1:]) for layer in draws],
        context.backend.dtype,
    )
    rule = learning_rule(
        learner, "matched", training.learning_rate, problem.y.shape, asked.inference
    )
    backend, replicas = context.backend, len(weights[0])
    x, y = backend.to_device(problem.x), backend.to_device(problem.y)
    trainer = backend.trainer(backend.build(problem.network, weights), x, y, rule)
    course = Course(replicas, len(weights))
    fallen = np.zeros((2, replicas), bool)

    def both_have_fallen(course: Course) -> Bool[np.ndarray, " R"]:
        # The last step of every look is left to the next: interpolation wants one step more.
        for known, values in zip(fallen, (course.losses, course.energies), strict=True):
            known |= (values[-look - 1 : -1] <= (1 - fraction) * values[0]).any(axis=0)
        return np.asarray(fallen.all(axis=0))

    steps = training.max_steps
    pauses = looks(trainer, course, steps, look, every=look, stop=both_have_fallen)
    for _ in context.progress(f"steps of {learner}", pauses, -(-steps // look)):
        pass
    loss, energy = (
        crossings(each, fraction, asked.seeds) for each in (course.losses, course.energies)
    )
    rose_at = rises(course.losses, course.energies)
    end = np.maximum(loss.whole, energy.whole).ravel()
    rose_at = np.where(rose_at < end, rose_at, np.inf)
    return Left(learner, objective, scales, weights, loss, energy, rose_at)


def rises(
    losses: Float[np.ndarray, "T R"], energies: Float[np.ndarray, "T R"], part: float = 1.0
) -> Float[np.ndarray, " R"]:
    """Return the first step at which energy or loss had risen too far, or infinity.

    The energy, which of BP is the loss, by a part of ``RISE`` above the least so far; or the loss,
    on which PC does not descend, by a part of ``DOUBLED``. What is no number has risen.
    """
    with np.errstate(invalid="ignore"):
        rose = ~(energies <= np.fmin.accumulate(energies) + part * RISE * energies[0])
        rose |= ~(losses <= np.fmin.accumulate(losses) + part * DOUBLED * losses[0])
    return np.where(rose.any(axis=0), rose.argmax(axis=0), np.inf)


def crossings(values: Float[np.ndarray, "T R"], fraction: float, seeds: int) -> Bounds:
    """Bound after how many updates values had fallen by a fraction; infinite where never.

    Between the two steps about the threshold the time is interpolated in the value. A straight line
    departs by at most an eighth of the second derivative, which of a cubic is largest at an end
    of the step, and is the second difference there. Twice that is allowed, for orders beyond.
    Without three steps on either side, anywhere within the step. A value that is NaN at the
    start never falls.
    """
    sound = np.isfinite(values[0]) & (values[0] > 0)
    start = np.where(sound, values[0], 1.0)
    # Steps are counted from 1 there, and the first has seen no update.
    last = escape_times(values, start, fraction=fraction, window=1).latest - 1
    earliest, latest = np.full((2, len(last)), np.inf)
    for replica in np.flatnonzero(sound & np.isfinite(last)):
        step = int(last[replica])
        around = values[max(step - 2, 0) : step + 2, replica].astype(np.float64)
        before, after = values[step - 1 : step + 1, replica].astype(np.float64)
        share = (before - (1 - fraction) * start[replica]) / (before - after)
        bend = np.abs(np.diff(around, 2)).max() if len(around) == 4 else np.nan
        off = bend / (before - after) / 4
        off = off if np.isfinite(off) else 1.0
        earliest[replica] = step - 1 + max(share - off, 0.0)
        latest[replica] = step - 1 + min(share + off, 1.0)
    return Bounds(earliest.reshape(-1, seeds), latest.reshape(-1, seeds))


def chain_power(
    problem: Problem, scales: Float[np.ndarray, " 3"], asked: Parameters
) -> Bounds | str:
    """Bound ``κ`` of PC, fitted at three scales, in chains of single units; or say why not.

    A network of rank 1 that has grown is a chain, and the fit is not the law's limit but what that
    chain has at these scales, with these data, fraction and step size. See :func:`chain_times`.
    """
    times = chain_times(problem, scales, asked, "energy", asked.training.max_steps)
    if near := too_near(scales[0], times[0]):
        return near
    if np.isinf(times).any():
        late = "has not left within training.max_steps, or its steps are too long"
        return f"a chain of single units {late}"
    powers = np.array([power_of_shifted_logarithm(*chain) for chain in times.T])
    return Bounds(powers.min(keepdims=True), powers.max(keepdims=True))


def too_near(scale: float, times: Float[np.ndarray, " chains"]) -> str:
    """Say if a chain from this scale is out within a step: it does not start near the origin."""
    if (times > 1).all():
        return ""
    return (
        f"from a scale of {scale:.2g}, not near the origin, a chain of single units leaves at once"
    )


def chain_times(
    problem: Problem,
    scales: Float[np.ndarray, " scales"],
    asked: Parameters,
    objective: Objective,
    max_steps: int,
) -> Float[np.ndarray, "scales chains"]:
    """Return in how many steps the loss falls in chains of single units.

    The chain learns the leading direction of the data. What grows in ``W_l``, ``l > 1``, is the row
    that belongs to the direction grown above, ``σ √d_{l-1}`` long. ``W_1`` grows side by side with
    that of ``W_2``: it begins between the part of its column in the same direction, ``σ``, and all
    of that, ``σ √d_1``. Both are tried, each chain at half, once and twice the size. Units that
    bend pass on less, and what is above or below them has to grow further: of the chain, with half
    of the input as well.
    """
    x, y, widths = problem.x, problem.y, problem.network.widths
    _, _, outputs = np.linalg.svd(y, full_matrices=False)
    target = y @ outputs[0]
    inputs = x.T @ target
    along = x @ (inputs / np.linalg.norm(inputs))
    sizes = (scales[:, None, None] * np.reshape(_FACTORS, (1, -1, 1))).repeat(2, axis=2)
    starts = [sizes * np.array([1.0, np.sqrt(widths[1])])]
    starts += [sizes * np.sqrt(width) for width in widths[1:-1]]
    # Other directions stay as they are: of the one that leaves, more has to fall.
    part = asked.fraction * np.sum(y**2) / np.sum(target**2)
    explained = np.sum(along * target) ** 2 / (np.sum(along**2) * np.sum(target**2))
    if part >= explained:
        return np.full((len(scales), 1), np.inf)
    times = [
        steps_to_fall(
            [start.reshape(-1, 1, 1) for start in starts],
            standing(passed_on * along[:, None], target[:, None], objective),
            step=asked.training.learning_rate,
            fraction=float(part),
            max_steps=max_steps,
        ).loss.reshape(len(scales), -1)
        for passed_on in ((1.0,) if problem.network.is_linear else (1.0, _BENT))
    ]
    return np.concatenate(times, axis=1)
