"""What iterative engines have in common: views of the network, and the loop that moves activities.

All samples and replicas step together in one ``lax.while_loop``, and a replica (or a sample, where
an engine treats each by itself) that is over keeps what it had: it ends as it would alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from pcbench.backends.jax.exact import Reached, relative
from pcbench.backends.jax.network import Batch, Parameters, Rows, energies, layer, over_replicas
from pcbench.networks import NetworkSpec


class Problem(NamedTuple):
    """A network between a clamped input and a clamped output; ``f_1(x)`` never changes."""

    parameters: Parameters
    batch: Batch
    first: Rows


class View(NamedTuple):
    """The network at activities ``z_1 … z_{L-1}``, of all samples and replicas.

    Slopes are ``∂(N𝓕)/∂z_l`` of the hidden layers; the descent is ``∂(N𝓕)/∂e_l``, where the energy
    is a function of the hidden errors, and empty where the engine moves activities.
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


class Limits(NamedTuple):
    """The settings that are numbers: traced, so that another step compiles nothing anew."""

    residual: float
    max_steps: int
    step: float = 0.0
    smallest_step: float = 0.0


class Progress(NamedTuple):
    """How far it has come, from ``‖∂(N𝓕)/∂z‖²`` of every sample at the feedforward activities.

    Replicas, or samples, that are over need no further step: they have arrived, gone to infinity,
    or been given up by the engine. Its memory is whatever it carries from step to step.
    """

    step: Int[Array, ""]
    view: View
    start: Float[Array, "*R N"]
    over: Bool[Array, "..."]
    memory: Any


class Engine(ABC):
    """A way to move. Engines are static: hashable, and compiled for."""

    by_sample: ClassVar[bool] = False
    """Whether every sample has to reach the residual by itself, or all of a replica together."""
    in_errors: ClassVar[bool] = False
    """Whether it moves the hidden errors, or the activities."""

    def begin(self, network: NetworkSpec, problem: Problem, view: View, limits: Limits) -> Any:
        """Return the memory to start with."""
        return ()

    @abstractmethod
    def move(
        self, network: NetworkSpec, problem: Problem, progress: Progress, limits: Limits
    ) -> tuple[View, Any, Bool[Array, "..."] | bool]:
        """Take one step; return the view there, the memory, and which are to be given up."""

    @abstractmethod
    def passes(self, steps: int, outputs: int) -> float:
        """How often the batch went through all weights, in so many steps."""


def relax(
    network: NetworkSpec,
    engine: Engine,
    kept: int,
    parameters: Parameters,
    batch: Batch,
    limits: Limits,
) -> Reached:
    """Step until all is over or the budget is spent.

    ``kept`` are rows of the path to make room for: the budget and one more; 0 keeps none.
    """
    first = over_replicas(network, lambda p, b: layer(network, 0, p, b.x), parameters, batch)
    batch = _expanded(batch, first)
    problem = Problem(parameters, batch, first)
    view = _feedforward(network, engine, problem)
    start = square_sum(view.slopes, view.prediction[..., 0])

    def residuals(view: View) -> tuple[Array, Array]:
        return relative(square_sum(view.slopes, start), start)

    def over(view: View) -> Array:
        left = residuals(view)[0 if engine.by_sample else 1]
        # NaN is neither above nor below anything: it is over, and has not arrived.
        return ~((left > limits.residual) & (left < jnp.inf))

    def going(carry: tuple[Progress, Array]) -> Array:
        progress, _ = carry
        return (progress.step < limits.max_steps) & ~progress.over.all()

    def advance(carry: tuple[Progress, Array]) -> tuple[Progress, Array]:
        progress, path = carry
        moved, memory, spent = engine.move(network, problem, progress, limits)
        view = _chosen(progress.over, progress.view, moved)
        step = progress.step + 1
        if kept:
            path = path.at[step].set(energies(batch, view.errors))
        return Progress(step, view, start, over(view) | spent, memory), path

    layers = energies(batch, view.errors)
    path = jnp.zeros((kept, *layers.shape), layers.dtype)
    if kept:
        path = path.at[0].set(layers)
    begun = Progress(
        jnp.zeros((), jnp.int32),
        view,
        start,
        over(view),
        engine.begin(network, problem, view, limits),
    )
    progress = begun
    if network.n_hidden:  # else nothing is to be moved, and nothing pulls
        progress, path = lax.while_loop(going, advance, (begun, path))
    view = progress.view
    layers = energies(batch, view.errors)
    samples, whole = residuals(view)
    arrived = (samples if engine.by_sample else whole) <= limits.residual
    output = batch.y
    if batch.precision is not None:
        output = jnp.where(batch.precision > 0, output, view.prediction)
    return Reached(
        activities=(batch.x, *view.hidden, output),
        energies=layers,
        steps=progress.step,
        residual=whole,
        converged=arrived.all() & jnp.isfinite(layers).all(),
        sample_residuals=samples,
        path=jnp.moveaxis(path, 0, -2) if kept else None,
    )


def _feedforward(network: NetworkSpec, engine: Engine, problem: Problem) -> View:
    """Look where every hidden error is zero."""
    rows = problem.first.shape[:-1]
    none = tuple(jnp.zeros((*rows, d), problem.first.dtype) for d in network.widths[1:-1])
    view = roll_out(network, problem, none)
    return view if engine.in_errors else view._replace(descent=())


def _expanded(batch: Batch, like: Rows) -> Batch:
    """Give every replica a batch of its own."""

    def own(rows: Array) -> Array:
        return jnp.broadcast_to(rows, (*like.shape[:-2], *rows.shape[-2:]))

    expanded: Batch = jax.tree.map(own, batch)
    return expanded


def _chosen(where: Bool[Array, "..."], theirs: Any, ours: Any) -> Any:
    """Take theirs where it says so, of replicas or of samples."""

    def pick(a: Array, b: Array) -> Array:
        return jnp.where(where.reshape(*where.shape, *(1,) * (a.ndim - where.ndim)), a, b)

    return jax.tree.map(pick, theirs, ours)
