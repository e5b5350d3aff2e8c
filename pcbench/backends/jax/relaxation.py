"""What iterative engines have in common: views of the network, and the loop that moves activities.

All samples and replicas step together in one ``lax.while_loop``, and a replica (or a sample, where
an engine treats each by itself) that is over keeps what it had: it ends as it would alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from pcbench.backends._on_jax.answers import Reached, Squares, ended, squared_norms, unfinished
from pcbench.backends.jax.network import Batch, Parameters, Rows, energies, layer, over_replicas
from pcbench.networks import NetworkSpec


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
        output = self.errors[-1]
        squares = squared_norms(self.errors[:-1], like=output)
        return (squares + (output * batch.weigh(output)).sum(-1)) / 2


class Limits(NamedTuple):
    """The settings that are numbers: traced, so that another step compiles nothing anew."""

    residual: float
    max_steps: int
    step: float = 0.0
    smallest_step: float = 0.0


@dataclass(frozen=True)
class Problem:
    """A network between a clamped input and a clamped output; ``f_1(x)`` never changes."""

    network: NetworkSpec
    parameters: Parameters
    batch: Batch
    first: Rows
    limits: Limits

    def look_at(self, given: tuple[Rows, ...], *, in_errors: bool) -> View:
        """Look at hidden activities, or at those with these errors, ``z_l = f_l(z_{l-1}) + e_l``.

        Go up through the layers, and pull the forces back: to the layer below, or all the way.
        """

        def one(
            parameters: Parameters, batch: Batch, first: Array, given: tuple[Array, ...]
        ) -> View:
            value, hidden, errors, pulls = first, [], [], []
            for index, own in enumerate(given, start=1):
                hidden.append(value + own if in_errors else own)
                errors.append(own if in_errors else own - value)
                value, pull = jax.vjp(partial(layer, self.network, index, parameters), hidden[-1])
                pulls.append(pull)
            errors.append(batch.output_error(value))
            back = batch.weigh(errors[-1])
            forces = [*errors[1:-1], back]
            slopes = (e - pull(f)[0] for e, pull, f in zip(errors, pulls, forces, strict=False))
            downhill: list[Array] = []
            for e, pull in zip(errors[-2::-1], reversed(pulls), strict=True):
                (back,) = pull(back)
                downhill.append(e - back)
            descent = tuple(reversed(downhill)) if in_errors else ()
            return View(tuple(hidden), tuple(errors), value, tuple(slopes), descent)

        seen: View = over_replicas(
            self.network, one, self.parameters, self.batch, self.first, given
        )
        return seen


class Progress(NamedTuple):
    """How far it has come.

    Replicas, or samples, that are over need no further step: they have arrived, gone to infinity,
    or been given up by the engine. Its memory is whatever it carries from step to step.
    """

    step: Int[Array, ""]
    view: View
    over: Bool[Array, "..."]
    memory: Any


Moved = tuple[View, Any, Bool[Array, "..."] | bool]
"""The view after a step, the memory, and which are to be given up."""


class Engine(ABC):
    """A way to move. Engines are static: hashable, and compiled for."""

    by_sample: ClassVar[bool] = False
    """Whether every sample has to reach the residual by itself, or all of a replica together."""
    in_errors: ClassVar[bool] = False
    """Whether it moves the hidden errors, or the activities."""

    def begin(self, problem: Problem, view: View) -> Any:
        """Return the memory to start with."""
        return ()

    @abstractmethod
    def move(self, problem: Problem, progress: Progress) -> Moved:
        """Take one step."""

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
    problem = Problem(network, parameters, batch, first, limits)
    # The feedforward activities are those where every hidden error is zero.
    none = tuple(jnp.zeros((*first.shape[:-1], d), first.dtype) for d in network.widths[1:-1])
    view = problem.look_at(none, in_errors=True)
    view = view if engine.in_errors else view._replace(descent=())

    def squares(view: View) -> Squares:
        return squared_norms(view.slopes, like=view.prediction)

    start = squares(view)

    def over(view: View) -> Array:
        return ~unfinished(squares(view), start, limits.residual, by_sample=engine.by_sample)

    def going(carry: tuple[Progress, Array]) -> Array:
        progress, _ = carry
        return (progress.step < limits.max_steps) & ~progress.over.all()

    def advance(carry: tuple[Progress, Array]) -> tuple[Progress, Array]:
        progress, path = carry
        moved, memory, spent = engine.move(problem, progress)
        view = _chosen(progress.over, progress.view, moved)
        step = progress.step + 1
        if kept:
            path = path.at[step].set(energies(batch, view.errors))
        return Progress(step, view, over(view) | spent, memory), path

    layers = energies(batch, view.errors)
    path = jnp.zeros((kept, *layers.shape), layers.dtype)
    if kept:
        path = path.at[0].set(layers)
    memory = engine.begin(problem, view)
    progress = Progress(jnp.zeros((), jnp.int32), view, over(view), memory)
    if network.n_hidden:  # else nothing is to be moved, and nothing pulls
        progress, path = lax.while_loop(going, advance, (progress, path))
    view = progress.view
    output = batch.y
    if batch.precision is not None:
        output = jnp.where(batch.precision > 0, output, view.prediction)
    return ended(
        (batch.x, *view.hidden, output),
        energies(batch, view.errors),
        progress.step,
        squares(view),
        start,
        limits.residual,
        jnp.moveaxis(path, 0, -2) if kept else None,
        by_sample=engine.by_sample,
    )


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
