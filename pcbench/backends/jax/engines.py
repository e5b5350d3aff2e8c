r"""Inference engines: gradient descent on the energy, in activities or errors, and Gauss-Newton.

Gauss-Newton goes by the prediction errors, damped sample by sample (theory.md 3.3). With ``z_l =
f_l(z_{l-1}) + e_l`` the energy of a sample, ``½ Σ_{l<L} ‖e_l‖² + ½ (y - ŷ(e))ᵀ Π (y - ŷ(e))``, is a
least-squares problem in its hidden errors. With ``g`` its gradient, ``K = ∂ŷ/∂e`` and the damping
``μ``, ``θ = 1/(1 + μ)``, the step of Levenberg and Marquardt is, by Woodbury,

.. math::
    δ = -(I + K^T Π K + μ I)^{-1} g = θ (θ K^T λ - g), \qquad λ = P (I + θ P T P)^{-1} P K g

with ``T = K Kᵀ`` and ``Π = P²``; the quadratic model then promises ``½ (g·δ - μ ‖δ‖²)``. ``K`` is
kept as a whole, ``d_L`` rows a sample, and serves as many steps as the settings say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float

from pcbench.backends._on_jax.answers import squared_norms
from pcbench.backends.jax.exact import output_force
from pcbench.backends.jax.network import Batch, Parameters, energies, layer, over_replicas
from pcbench.backends.jax.relaxation import Engine, Limits, Moved, Problem, Progress, View
from pcbench.contract.inference import (
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
    IterativeInference,
)
from pcbench.networks import NetworkSpec


class Schedule(NamedTuple):
    """The step of every replica, and its energy when it was last looked at."""

    step: Float[Array, "*R"]
    energy: Float[Array, "*R"]


@dataclass(frozen=True)
class ActivityDescent(Engine):
    """``z ← z - step · ∂(N𝓕)/∂z``, all hidden layers at once.

    With ``halve``, a replica whose energy rose goes on with half the step, until that comes to the
    smallest.
    """

    halve: bool = False

    def begin(self, problem: Problem, view: View) -> Any:
        """Give every replica the same step."""
        if not self.halve:
            return ()
        energy = energies(problem.batch, view.errors).sum(-1)
        return Schedule(jnp.full_like(energy, problem.limits.step), energy)

    def move(self, problem: Problem, progress: Progress) -> Moved:
        """Step downhill."""
        view, memory = progress.view, progress.memory
        step = memory.step[..., None, None] if self.halve else problem.limits.step
        hidden = [z - step * slope for z, slope in zip(view.hidden, view.slopes, strict=True)]
        moved = problem.look_at(tuple(hidden), in_errors=False)
        if not self.halve:
            return moved, memory, False
        energy = energies(problem.batch, moved.errors).sum(-1)
        step = jnp.where(energy > memory.energy, memory.step / 2, memory.step)
        return moved, Schedule(step, energy), step <= problem.limits.smallest_step

    def passes(self, steps: int, outputs: int) -> float:
        """Forward and back, at the start and every step."""
        return 2.0 * (1 + steps)


@dataclass(frozen=True)
class ErrorDescent(Engine):
    """``e ← e - step · ∂(N𝓕)/∂e`` with ``z_l = f_l(z_{l-1}) + e_l`` (arXiv:2505.20137)."""

    in_errors: ClassVar[bool] = True

    def move(self, problem: Problem, progress: Progress) -> Moved:
        """Step downhill, and roll the activities out."""
        view, step = progress.view, problem.limits.step
        errors = [e - step * g for e, g in zip(view.errors[:-1], view.descent, strict=True)]
        return problem.look_at(tuple(errors), in_errors=True), (), False

    def passes(self, steps: int, outputs: int) -> float:
        """Forward, back for the slopes and back for the step."""
        return 3.0 * (1 + steps)


# Damping: where it starts once a step went wrong, and when it is none or all.
_FIRST, _NONE, _ALL = 0.1, 1e-3, 1e8
# By which part of the promised decrease a step brought, damping is raised or lowered.
_POOR, _GOOD, _RAISE, _REFUSE, _LOWER = 0.25, 0.75, 2.0, 4.0, 1 / 3
# Roundings that a rise of the energy is put down to, of the size of what is summed.
_ROUNDINGS = 4.0


class Memory(NamedTuple):
    """The damping of every sample, and the network as it was last linearised."""

    damping: Float[Array, "*R N"]
    reach: Float[Array, "*R N d_L hidden"]


@dataclass(frozen=True)
class GaussNewton(Engine):
    """Parameters: how many steps each linearisation serves."""

    by_sample: ClassVar[bool] = True
    in_errors: ClassVar[bool] = True
    reuse: int = 1

    def begin(self, problem: Problem, view: View) -> Memory:
        """Begin without damping."""
        energy = view.sample_energies(problem.batch)
        shape = (*view.prediction.shape, sum(problem.network.widths[1:-1]))
        return Memory(jnp.zeros_like(energy), jnp.zeros(shape, energy.dtype))

    def move(self, problem: Problem, progress: Progress) -> Moved:
        """Try a step, which those samples take whose energy it does not raise.

        Near an equilibrium energies differ by the square of a step, by less than their rounding
        long before forces do: there a step is taken that calms the forces.
        """
        view, batch, damping = progress.view, problem.batch, progress.memory.damping
        fresh = progress.step % self.reuse == 0
        reach = lax.cond(fresh, lambda: _reach(problem, view), lambda: progress.memory.reach)
        gradient = jnp.concatenate(view.descent, axis=-1)
        step = _step(reach, gradient, batch.precision, damping)
        steps = jnp.split(step, borders(problem.network), axis=-1)
        errors = [e + part for e, part in zip(view.errors[:-1], steps, strict=True)]
        trial = problem.look_at(tuple(errors), in_errors=True)

        energy, tried = view.sample_energies(batch), trial.sample_energies(batch)
        noise = _noise(trial, batch, tried)
        forces, before = (squared_norms(at.slopes, like=at.prediction) for at in (trial, view))
        taken = (tried <= energy) | ((forces < before) & (tried <= energy + noise))
        moved = jax.tree.map(lambda new, old: jnp.where(taken[..., None], new, old), trial, view)
        promised = (damping * (step * step).sum(-1) - (gradient * step).sum(-1)) / 2
        brought = jnp.where(promised > noise, (energy - tried) / promised, (_POOR + _GOOD) / 2)
        # A linearisation that is no longer fresh may fail for that reason alone: no verdict.
        damping = jnp.where(fresh, _damped(damping, taken, brought), damping)
        return moved, Memory(damping, reach), damping > _ALL

    def passes(self, steps: int, outputs: int) -> float:
        """Each step forward and back twice; each linearisation forward, and every output back."""
        return 3.0 * (1 + steps) + -(-steps // self.reuse) * (1 + outputs)


def borders(network: NetworkSpec) -> list[int]:
    """Where one hidden layer ends among all hidden units."""
    return [sum(network.widths[1:end]) for end in range(2, network.n_layers)]


def _reach(problem: Problem, view: View) -> Float[Array, "*R N d_L hidden"]:
    jacobian = partial(jacobian_of_outputs, problem.network)
    return over_replicas(problem.network, jacobian, problem.parameters, view.hidden)


def jacobian_of_outputs(
    network: NetworkSpec, parameters: Parameters, hidden: tuple[Array, ...]
) -> Float[Array, "N d_L hidden"]:
    """``K_l = J_L ⋯ J_{l+1}`` of the hidden layers, side by side, by one pull for each output."""
    pulls = [
        jax.vjp(partial(layer, network, index, parameters), z)[1]
        for index, z in enumerate(hidden, start=1)
    ]

    def pulled(force: Array) -> Array:
        back = jnp.broadcast_to(force, (len(hidden[0]), len(force)))
        blocks = []
        for pull in reversed(pulls):
            (back,) = pull(back)
            blocks.append(back)
        return jnp.concatenate(blocks[::-1], axis=-1)

    return jax.vmap(pulled, out_axes=1)(jnp.eye(network.widths[-1], dtype=hidden[0].dtype))


def _step(
    reach: Float[Array, "*R N d_L hidden"],
    gradient: Float[Array, "*R N hidden"],
    precision: Float[Array, "*R N d_L"] | None,
    damping: Float[Array, "*R N"],
) -> Float[Array, "*R N hidden"]:
    """Minimise the damped quadratic model of every sample."""
    theta = 1 / (1 + damping[..., None])
    through = reach @ reach.swapaxes(-1, -2)
    carried = (reach @ gradient[..., None])[..., 0]
    force = output_force(through, carried, precision, theta)
    return theta * (theta * (force[..., None, :] @ reach)[..., 0, :] - gradient)


def _noise(view: View, batch: Batch, energy: Float[Array, "*R N"]) -> Float[Array, "*R N"]:
    """What rounding may make of a sample's energy: of its sum, and of ``y - ŷ``."""
    output = view.errors[-1]
    target = batch.y if batch.precision is None else jnp.where(batch.precision > 0, batch.y, 0)
    force, size = (jnp.linalg.norm(rows, axis=-1) for rows in (batch.weigh(output), target))
    size = energy + force * (size + jnp.linalg.norm(output, axis=-1))
    return _ROUNDINGS * jnp.finfo(energy.dtype).eps * size


def _damped(
    damping: Float[Array, "*R N"], taken: Bool[Array, "*R N"], brought: Float[Array, "*R N"]
) -> Float[Array, "*R N"]:
    """Raise the damping where the model promised too much, and lower it where it kept its word."""
    factor = jnp.where(brought > _GOOD, _LOWER, jnp.where(brought < _POOR, _RAISE, 1.0))
    factor = jnp.where(taken, factor, _REFUSE)
    raised = jnp.maximum(damping * factor, _FIRST)
    damping = jnp.where(factor > 1, raised, damping * factor)
    return jnp.where(damping < _NONE, 0.0, damping)


def choose_engine(settings: IterativeInference) -> tuple[Engine, Limits]:
    """Tell what is compiled for from what is only computed with."""
    limits = Limits(settings.residual, settings.max_steps)
    match settings:
        case GradientInference():
            limits = limits._replace(step=settings.step, smallest_step=settings.smallest_step)
            return ActivityDescent(settings.halve), limits
        case ErrorInference():
            return ErrorDescent(), limits._replace(step=settings.step)
        case GaussNewtonInference():
            return GaussNewton(settings.reuse), limits
        case _:
            raise TypeError(f"no engine of JAX for {settings!r}")
