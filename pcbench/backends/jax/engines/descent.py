"""Gradient descent on the energy: in the activities, or in the prediction errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from pcbench.backends.jax.engines.relaxation import Engine, Limits, Progress
from pcbench.backends.jax.engines.view import Problem, View, look_at, roll_out
from pcbench.backends.jax.objectives import energies
from pcbench.networks import NetworkSpec


class Schedule(NamedTuple):
    """The step of every replica, and its energy when it was last looked at."""

    step: Float[Array, "*R"]
    energy: Float[Array, "*R"]


@dataclass(frozen=True)
class ActivityDescent(Engine):
    """``z ← z - step · ∂(N𝓕)/∂z``, all hidden layers at once.

    Parameters
    ----------
    halve
        Whether a replica whose energy rose goes on with half the step, until that comes to the
        smallest.
    """

    halve: bool = False

    def begin(self, network: NetworkSpec, problem: Problem, view: View, limits: Limits) -> Any:
        """Give every replica the same step."""
        if not self.halve:
            return ()
        energy = energies(problem.batch, view.errors).sum(-1)
        return Schedule(jnp.full_like(energy, limits.step), energy)

    def move(
        self, network: NetworkSpec, problem: Problem, progress: Progress, limits: Limits
    ) -> tuple[View, Any, Bool[Array, "..."] | bool]:
        """Step downhill."""
        view, memory = progress.view, progress.memory
        step = memory.step[..., None, None] if self.halve else limits.step
        hidden = [z - step * slope for z, slope in zip(view.hidden, view.slopes, strict=True)]
        moved = look_at(network, problem, tuple(hidden))
        if not self.halve:
            return moved, memory, False
        energy = energies(problem.batch, moved.errors).sum(-1)
        step = jnp.where(energy > memory.energy, memory.step / 2, memory.step)
        return moved, Schedule(step, energy), step <= limits.smallest_step

    def passes(self, steps: int, outputs: int) -> float:
        """Forward and back, at the start and every step."""
        return 2.0 * (1 + steps)


@dataclass(frozen=True)
class ErrorDescent(Engine):
    """``e ← e - step · ∂(N𝓕)/∂e`` with ``z_l = f_l(z_{l-1}) + e_l`` (arXiv:2505.20137)."""

    in_errors: ClassVar[bool] = True

    def move(
        self, network: NetworkSpec, problem: Problem, progress: Progress, limits: Limits
    ) -> tuple[View, Any, Bool[Array, "..."] | bool]:
        """Step downhill, and roll the activities out."""
        view = progress.view
        errors = [e - limits.step * g for e, g in zip(view.errors[:-1], view.descent, strict=True)]
        return roll_out(network, problem, tuple(errors)), (), False

    def passes(self, steps: int, outputs: int) -> float:
        """Forward, back for the slopes and back for the step."""
        return 3.0 * (1 + steps)
