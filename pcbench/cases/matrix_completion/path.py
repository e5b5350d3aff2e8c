"""Backpropagation from near the origin, and the saddles found on its path from the path alone.

Along gradient flow the loss falls at the rate ``‖∇𝓛‖²``: a plateau of the loss is a valley of the
gradient norm, between the peaks of two drops. From near the origin, a network learns the singular
vectors of its targets one after another (Saxe et al. 2014; Jacot et al. 2021), so that between the
drop to rank ``k`` and that to ``k + 1`` stands a saddle of rank ``k``. Where it is, how high, and
whether two drops come as one, depends on the draw.

All of this holds while steps are short beside the curvature: the loss then falls at every step. One
that rises tells that they are not; what the gradient norm does from there on is no matter of
saddles.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from pcbench.cases.matrix_completion.draws import Draws, whole
from pcbench.cases.matrix_completion.parameters import Masking, Way
from pcbench.judges.problem import Problem, Weights
from pcbench.judges.training.curves import Course
from pcbench.theory.arrays import chain
from pcbench.theory.linear.critical import least_losses
from pcbench.theory.nonlinear.layered import feedforward, layered_loss
from pcbench.theory.rounding.bounds import unit_roundoff

PEAK = 2.0
"""Gradient norm on both sides of a valley, over its least in it: the loss falls 4 times faster."""

RANK_SHARE = 0.1
"""Predictions have as many ranks as singular values above this share of the targets' largest."""


def numerical_rank(
    predictions: Float[np.ndarray, "N d_L"], targets: Float[np.ndarray, "N d_L"]
) -> int:
    """Count the singular values of the predictions that matter beside the targets."""
    singular = np.linalg.svd(predictions, compute_uv=False)
    return int(np.sum(singular > RANK_SHARE * np.linalg.norm(targets, 2)))


@dataclass(slots=True)
class Path:
    """One draw's way down, as it was looked at, from time to time.

    It knows how high it has been since it left a valley, and how low after that, at which look.
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    _peak: float = -np.inf
    _low: float = np.inf
    _floor: int = 0

    def add(
        self, step: int, loss: float, gradient_norm: float, rank: int
    ) -> tuple[int | None, bool]:
        """Take one more look in.

        Returns the look at the floor of a valley that the path has just left, if it has, and
        whether this one may become such a floor: it is the lowest since the last peak. A valley is
        left where its floor is ``PEAK`` times lower than the peak before it, and than here.
        """
        left = self.resting() if self._low * PEAK <= gradient_norm else None
        turned = left is not None or gradient_norm > self._peak
        lowest = turned or gradient_norm < self._low
        if turned:
            self._peak = gradient_norm
        if lowest:
            self._low, self._floor = gradient_norm, len(self.steps)
        self.steps.append(step)
        self.losses.append(loss)
        self.gradient_norms.append(gradient_norm)
        self.ranks.append(rank)
        return left, lowest

    def resting(self) -> int | None:
        """Return the look at the floor of the valley that the path is in, if it is in one."""
        return self._floor if self._low * PEAK <= self._peak else None


def is_saddle(problem: Problem, rank: int) -> bool:
    """Whether a point whose predictions show so many ranks is taken for a saddle of that rank.

    In linear networks there is more to ask. The map must have no more rank than its predictions
    show: how large these are says nothing of directions in which inputs are small. And the drop
    from the rank below must have been gone all but a share, in ``‖Y - Ŷ‖``, of targets that are
    observed entirely: others have no best in closed form. The criteria choose what is compared, and
    are no checks: a candidate that misses one is dropped, and counted.
    """
    if not problem.network.is_linear or rank == 0:
        return True
    weights = problem.weights
    singular = np.linalg.svd(chain(weights, len(weights), 1), compute_uv=False)
    if not singular[rank] <= RANK_SHARE * singular[rank - 1]:
        return False
    if problem.precision is not None:
        return True
    losses = least_losses(problem.x, problem.y)
    best, above = np.sqrt(2 * len(problem.x) * np.maximum(losses[[rank, rank - 1]], 0.0))
    predictions = feedforward(problem.layered, problem.x)[-1]
    misfit = np.linalg.norm(problem.y - predictions)
    return bool(misfit <= best + RANK_SHARE * (above - best))


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


class Descent:
    """Follows backpropagation until the loss is at its goal, or rises, or the budget is spent.

    Gradient descent whose steps are short beside the curvature lowers the loss at every step. From
    the first step at which it rises by more than half of the dtype's digits, a draw takes no part:
    it is in ``unstable``.

    A draw that still rests at a saddle when its budget is spent has that saddle like any other:
    those that take the longest to leave must not be missing from the comparison. How many points of
    rest of a draw were no saddles by the criteria is in ``dropped``.

    Every draw's network is looked at each time that training comes to the host. The norm of a
    gradient is known one run after the parameters that it belongs to, which wait for it.
    """

    def __init__(self, draws: Draws) -> None:
        self._draws, self._goal = draws, draws.asked.training.stop
        self._trainer = draws.trainer(draws.problems, Way("BP", "matched", "matched"))
        self._rise = 1 + float(np.sqrt(unit_roundoff(draws.context.backend.dtype)))
        self.paths = [Path() for _ in draws.problems]
        self.unstable: set[int] = set()
        self.dropped: Counter[int] = Counter()
        self._waiting = {draw: problem.parameters for draw, problem in enumerate(draws.problems)}
        self._floors: dict[int, tuple[Seen, Weights]] = {}
        self._heights: dict[tuple[int, int], float] = {}
        self._found = {
            (draw, 0): Saddle(draw, 0, 0, problem) for draw, problem in enumerate(draws.problems)
        }
        steps = draws.asked.training.steps
        self.course = draws.train(self._trainer, range(len(draws.problems)), steps, self._look)
        del self._trainer  # and its parameters on the device
        for draw, path in enumerate(self.paths):
            floor = path.resting()
            if self.course.fates[draw] == "out of steps" and floor is not None:
                self._keep(draw, floor)

    def _look(self, course: Course) -> Bool[np.ndarray, " R"]:
        """Take the last run in, and say whose path ends here."""
        begun = int(course.recorded[-1])
        for draw, weights in self._waiting.items():
            seen = Seen(float(course.losses[begun, draw]), course.gradient_norms[-1, draw])
            if begun == 0:
                self._found[draw, 0] = Saddle(draw, 0, 0, self._draws.problems[draw], seen)
            losses = course.losses[max(begun - 1, 0) :, draw]
            if not (np.isfinite(losses[0]) and (losses[1:] <= self._rise * losses[:-1]).all()):
                self.unstable.add(draw)
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

    def _see(self, draw: int, step: int, seen: Seen, weights: Weights) -> None:
        path, problem = self.paths[draw], self._draws.problems[draw].at(weights)
        predictions = feedforward(problem.layered, problem.x)[-1]
        norm, rank = np.linalg.norm(seen.gradient_norms), numerical_rank(predictions, problem.y)
        left, lowest = path.add(step, seen.loss, float(norm), rank)
        if left is not None:
            self._keep(draw, left)
        if lowest:
            self._floors[draw] = seen, weights

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
        height, known = path.gradient_norms[look], self._heights.get((draw, rank))
        if known is None or height < known:
            self._found[draw, rank], self._heights[draw, rank] = saddle, height

    @property
    def saddles(self) -> list[Saddle]:
        """Those found, in the order of draws and ranks."""
        return [self._found[place] for place in sorted(self._found)]
