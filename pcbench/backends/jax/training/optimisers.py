"""Optimisers over replicas, each with a learning rate and a state of its own."""

from __future__ import annotations

from math import inf, log
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from pcbench.backends.jax.network import Parameters
from pcbench.contract.training import Adam, Optimiser


class Learner(NamedTuple):
    """Parameters, and what their optimiser remembers.

    Attributes
    ----------
    parameters
        Of all replicas.
    means, squares
        Running moments; empty where the optimiser has none.
    steps
        Updates so far.
    """

    parameters: Parameters
    means: Parameters
    squares: Parameters
    steps: Int[Array, ""]


def beginner(optimiser: Optimiser, parameters: Parameters) -> Learner:
    """Copy the parameters, with moments that are zero."""
    copied = tuple(array.copy() for array in parameters)
    if not isinstance(optimiser, Adam):
        return Learner(copied, (), (), jnp.zeros((), jnp.int32))
    means, squares = ([jnp.zeros_like(array) for array in parameters] for _ in range(2))
    return Learner(copied, tuple(means), tuple(squares), jnp.zeros((), jnp.int32))


def update(
    optimiser: Optimiser, learner: Learner, gradients: Parameters, rate: Float[Array, "*R"]
) -> Learner:
    """Take one step: ``θ ← θ - η g``, or Adam's (Kingma & Ba 2015, algorithm 1)."""
    steps = learner.steps + 1
    if not isinstance(optimiser, Adam):
        moved = jax.tree.map(lambda p, g: p - aligned(rate, g) * g, learner.parameters, gradients)
        return learner._replace(parameters=moved, steps=steps)
    first, second = optimiser.beta_1, optimiser.beta_2
    means = jax.tree.map(lambda m, g: m + (1 - first) * (g - m), learner.means, gradients)
    squares = jax.tree.map(
        lambda s, g: second * s + (1 - second) * g * g, learner.squares, gradients
    )
    count = steps.astype(rate.dtype)
    pace = rate / _remembered(first, count)
    unbiased = 1 / jnp.sqrt(_remembered(second, count))

    def step(parameter: Array, mean: Array, square: Array) -> Array:
        away = jnp.sqrt(square) * unbiased + optimiser.epsilon
        return parameter - aligned(pace, mean) * (mean / away)

    return Learner(jax.tree.map(step, learner.parameters, means, squares), means, squares, steps)


def aligned(rate: Float[Array, "*R"], array: Array) -> Array:
    """Give a number of each replica the axes of an array behind it."""
    return rate.reshape(*rate.shape, *(1,) * (array.ndim - rate.ndim))


def _remembered(decay: float, steps: Array) -> Array:
    """``1 - βᵗ``, which for ``β`` near 1 would lose half its digits if it were subtracted."""
    return -jnp.expm1(steps * (log(decay) if decay else -inf))
