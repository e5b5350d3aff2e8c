"""A network between a clamped input and a clamped output, seen at certain activities."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from pcbench.backends.jax.network import Parameters, Rows, layer, over_replicas
from pcbench.backends.jax.objectives import Batch
from pcbench.networks import NetworkSpec


class Problem(NamedTuple):
    """A network between a clamped input and a clamped output.

    Attributes
    ----------
    parameters, batch
        Of all replicas.
    first
        ``f_1(x)``, which never changes.
    """

    parameters: Parameters
    batch: Batch
    first: Rows


class View(NamedTuple):
    """The network at certain activities, of all samples and replicas.

    Attributes
    ----------
    hidden
        ``z_1 … z_{L-1}``.
    errors
        ``e_1 … e_L``.
    prediction
        ``f_L(z_{L-1})``.
    slopes
        ``∂(N𝓕)/∂z_l`` of the hidden layers.
    descent
        ``∂(N𝓕)/∂e_l``, where the energy is a function of the hidden errors; empty where the
        engine moves activities.
    """

    hidden: tuple[Rows, ...]
    errors: tuple[Rows, ...]
    prediction: Rows
    slopes: tuple[Rows, ...]
    descent: tuple[Rows, ...] = ()

    def sample_energies(self, batch: Batch) -> Float[Array, "*R N"]:
        """``½ Σ_l ‖e_l‖²``."""
        output = (self.errors[-1] * batch.weigh(self.errors[-1])).sum(-1)
        return (square_sum(self.errors[:-1], output) + output) / 2


def look_at(network: NetworkSpec, problem: Problem, hidden: tuple[Rows, ...]) -> View:
    """Look at hidden activities ``z_1 … z_{L-1}``."""

    def place(index: int, value: Array, given: tuple[Array, ...]) -> tuple[Array, Array]:
        return given[index], given[index] - value

    return _view(network, problem, hidden, place, descent=False)


def roll_out(network: NetworkSpec, problem: Problem, errors: tuple[Rows, ...]) -> View:
    """Look at the activities that have these hidden errors, ``z_l = f_l(z_{l-1}) + e_l``."""

    def place(index: int, value: Array, given: tuple[Array, ...]) -> tuple[Array, Array]:
        return value + given[index], given[index]

    return _view(network, problem, errors, place, descent=True)


def _view(
    network: NetworkSpec,
    problem: Problem,
    given: tuple[Rows, ...],
    place: Callable[[int, Array, tuple[Array, ...]], tuple[Array, Array]],
    *,
    descent: bool,
) -> View:
    """Go up through the layers, and pull the forces back: to the layer below, or all the way."""

    def one(parameters: Parameters, batch: Batch, first: Array, given: tuple[Array, ...]) -> View:
        value, hidden, errors, pulls = first, [], [], []
        for index in range(network.n_hidden):
            z, e = place(index, value, given)
            value, pull = jax.vjp(partial(layer, network, index + 1, parameters), z)
            hidden.append(z)
            errors.append(e)
            pulls.append(pull)
        errors.append(batch.output_error(value))
        forces = [*errors[1:-1], batch.weigh(errors[-1])]
        slopes = [e - pull(force)[0] for e, pull, force in zip(errors, pulls, forces, strict=False)]
        downhill: list[Array] = []
        back = batch.weigh(errors[-1])
        for e, pull in zip(errors[-2::-1], reversed(pulls), strict=True):
            (back,) = pull(back)
            downhill.append(e - back)
        return View(
            tuple(hidden),
            tuple(errors),
            value,
            tuple(slopes),
            tuple(reversed(downhill)) if descent else (),
        )

    seen: View = over_replicas(
        network, one, problem.parameters, problem.batch, problem.first, given
    )
    return seen


def square_sum(rows: tuple[Rows, ...], like: Float[Array, "*R N"]) -> Float[Array, "*R N"]:
    """``‖·‖²`` over all layers, of every sample."""
    total = jnp.zeros_like(like)
    for part in rows:
        total = total + (part * part).sum(-1)
    return total
