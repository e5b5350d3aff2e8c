"""Critical points of the equilibrated energy from many starts at once, by Levenberg-Marquardt.

``½ ‖∇𝓕*‖²`` is minimised with ``H = ∇²𝓕*`` as its Jacobian: ``δ = -(H² + μ)⁻¹ H g``. The damping is
``μ ∝ ‖g‖²``, with which convergence is quadratic even where critical points form surfaces, as they
do here (Yamashita & Fukushima 2001, Computing Suppl. 15, 239); never less than rounding leaves of
the eigenvalues of ``H`` that are zero. Every start has its own damping, and drops out once it has
arrived or left.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from pcbench.contract import Backend, ExactInference
from pcbench.judges.points import split
from pcbench.networks import NetworkSpec

Numbers = Float[np.ndarray, " R"]
Points = Float[np.ndarray, "R P"]
Weights = list[Float[np.ndarray, "*R _out _inp"]]

# The damping is divided by so much after a step that helped, multiplied after one that did not.
_EASE, _TIGHTEN = 3.0, 4.0
# Its factor of ‖g‖² stays within these: below, H² would be singular in float64; above, no step is
# left of it.
_LEAST_FACTOR, _LARGEST_FACTOR = 1e-2, 1e12


class Fate(StrEnum):
    """What became of a start."""

    ARRIVED = "arrived"  # the gradient is within the tolerance, and no step is left to take
    LEFT = "left for infinity"  # weights grew beyond the limit: the gradient falls without end
    STUCK = "stuck"  # no step makes the gradient smaller: a minimum of its norm that is no zero
    UNFINISHED = "unfinished"  # the iterations were used up


class Batch(NamedTuple):
    """Inputs and targets, and whether the targets are a linear function of the inputs."""

    x: Float[np.ndarray, "N d_0"]
    y: Float[np.ndarray, "N d_L"]
    exact: bool


class Judged:
    """A backend's equilibrated energy of one linear network on one batch, at many points."""

    def __init__(self, backend: Backend[Any], network: NetworkSpec, batch: Batch) -> None:
        self._backend, self._network, self.batch = backend, network, batch
        self._x, self._y = backend.to_device(batch.x), backend.to_device(batch.y)

    def landscape(self, points: Points) -> tuple[Numbers, Numbers, Points]:
        """Ask for energies, losses and gradients, ``𝓕*``, ``𝓛`` and ``∇𝓕*``."""
        model, activities = self._equilibrium(points)
        to_host = self._backend.to_host
        gradients = [
            to_host(g).reshape(len(points), -1) for g in model.energy_gradients(activities)
        ]
        return (
            to_host(model.energies(activities)).sum(axis=-1),
            to_host(model.loss(self._x, self._y)),
            np.concatenate(gradients, axis=1),
        )

    def hessians(self, points: Points) -> Float[np.ndarray, "R P P"]:
        """Ask for whole Hessians."""
        model, activities = self._equilibrium(points)
        identity = np.broadcast_to(np.eye(points.shape[1]), (len(points), *points.shape[1:] * 2))
        product = model.energy_hessian(activities).product(self._backend.to_device(identity))
        hessians: Float[np.ndarray, "R P P"] = self._backend.to_host(product)
        return hessians

    def weights(self, point: Float[np.ndarray, "*R P"]) -> Weights:
        """Split parameters into ``W_1 … W_L``."""
        return split(self._network, point)

    def _equilibrium(self, points: Points) -> tuple[Any, list[Any]]:
        model = self._backend.build(self._network, self.weights(points))
        reached = model.infer(self._x, self._y, ExactInference())
        return model, [*reached.activities[:-1], self._y]


class Search:
    """Starts on their way to critical points, with ``∇𝓕*`` and ``∇²𝓕*`` where each is.

    A start has arrived where ``‖∇𝓕*‖`` is within ``gradient`` and its next step no longer than
    ``step``, where ``max(1, ‖θ‖)`` is 1: on the way to infinity the gradient vanishes as well, and
    steps do not. Beyond ``limit`` in ``‖θ‖`` it has left.
    """

    def __init__(
        self, judged: Judged, starts: Points, gradient: float, step: float, limit: float
    ) -> None:
        self.judged, self._wanted = judged, (gradient, step, limit)
        self.points, (*_, self.gradients) = starts.copy(), judged.landscape(starts)
        self.hessians = judged.hessians(starts)
        self.fates = np.full(len(starts), Fate.UNFINISHED, dtype=object)
        self._factors = np.ones(len(starts))

    def run(self, iterations: int) -> Iterator[int]:
        """Go on, one iteration for each that is taken from this, until all have ended.

        Yields how many are still on their way.
        """
        going = np.arange(len(self.points))
        for _ in range(iterations):
            steps = self._levenberg_marquardt(going)
            ended = self._ended(going, steps)
            going, steps = going[~ended], steps[~ended]
            if len(going) == 0:
                return
            self._try(going, steps)
            yield len(going)
        self._ended(going, self._levenberg_marquardt(going))

    def polish(self, iterations: int) -> None:
        """Go on with those that have arrived, as far as rounding lets the gradient fall."""
        arrived = np.flatnonzero(self.fates == Fate.ARRIVED)
        for _ in range(iterations if len(arrived) else 0):
            self._try(arrived, self._levenberg_marquardt(arrived))

    def _levenberg_marquardt(self, which: Int[np.ndarray, " K"]) -> Points:
        hessians, gradients = self.hessians[which], self.gradients[which]
        values, vectors = np.linalg.eigh(hessians)
        zero = values.shape[1] * np.finfo(np.float64).eps * np.abs(values).max(axis=1)
        damping = self._factors[which] * np.sum(gradients**2, axis=1) + zero**2
        # Where gradient and Hessian vanish to the last bit there is no step, and no 0/0 either.
        damping = np.maximum(damping, np.finfo(np.float64).tiny)[:, None]
        along = np.einsum("rpk,rp->rk", vectors, gradients)
        step: Points = -np.einsum("rpk,rk->rp", vectors, along * values / (values**2 + damping))
        return step

    def _ended(self, which: Int[np.ndarray, " K"], steps: Points) -> Bool[np.ndarray, " K"]:
        gradient, step, limit = self._wanted
        size = np.linalg.norm(self.points[which], axis=1)
        small = np.linalg.norm(self.gradients[which], axis=1) < gradient
        arrived = small & (np.linalg.norm(steps, axis=1) <= step * np.maximum(1.0, size))
        left = ~arrived & (size > limit)
        stuck = ~arrived & ~left & (self._factors[which] > _LARGEST_FACTOR)
        for fate, those in ((Fate.ARRIVED, arrived), (Fate.LEFT, left), (Fate.STUCK, stuck)):
            self.fates[which[those]] = fate
        ended: Bool[np.ndarray, " K"] = arrived | left | stuck
        return ended

    def _try(self, which: Int[np.ndarray, " K"], steps: Points) -> None:
        trials = self.points[which] + steps
        *_, gradients = self.judged.landscape(trials)
        better = np.sum(gradients**2, axis=1) < np.sum(self.gradients[which] ** 2, axis=1)
        moved = which[better]
        self.points[moved], self.gradients[moved] = trials[better], gradients[better]
        if len(moved):
            self.hessians[moved] = self.judged.hessians(trials[better])
        self._factors[moved] = np.maximum(self._factors[moved] / _EASE, _LEAST_FACTOR)
        self._factors[which[~better]] *= _TIGHTEN
