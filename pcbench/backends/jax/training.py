"""Training: learning rules, optimisers over replicas, and the scan that joins them."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from pcbench.backends.jax.engines import choose_engine
from pcbench.backends.jax.exact import infer_exactly
from pcbench.backends.jax.model import JaxModel
from pcbench.backends.jax.network import (
    Batch,
    Number,
    Parameters,
    energy_gradients,
    has_replicas,
    loss,
    loss_and_gradients,
    over_replicas,
)
from pcbench.backends.jax.relaxation import Engine, Limits, relax
from pcbench.contract import BackendUnavailableError, IterativeInference
from pcbench.contract.training import (
    Adam,
    Batches,
    Objective,
    Optimiser,
    Record,
    Trainer,
    TrainingSettings,
    check_run,
)
from pcbench.networks import NetworkSpec

Rule = tuple[Objective, Engine | None]
"""What is learned by, and how predictive coding infers; ``None`` for the closed form."""


class Learner(NamedTuple):
    """Parameters of all replicas, and what their optimiser remembers.

    Running moments are empty where the optimiser has none; ``steps`` are updates so far.
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


def _slope(
    network: NetworkSpec, rule: Rule, parameters: Parameters, batch: Batch, limits: Limits
) -> tuple[Float[Array, "*R"], Float[Array, "*R"], Parameters, Array | int, Float[Array, "*R"]]:
    """Return loss, the energy reached, gradients, and inference's steps and residual."""
    objective, engine = rule
    if objective == "loss":
        value, gradients = over_replicas(
            network, lambda p, b: loss_and_gradients(network, p, b), parameters, batch
        )
        return value, value, gradients, 0, jnp.zeros_like(value)
    if engine is None:
        reached = infer_exactly(network, parameters, batch)
    else:
        reached = relax(network, engine, 0, parameters, batch, limits)
    first, *hidden, last = reached.activities
    at = (Batch(first, last, batch.precision), tuple(hidden))
    return (
        over_replicas(network, lambda p, b: loss(network, p, b), parameters, batch),
        reached.energies.sum(-1),
        over_replicas(network, lambda p, a: energy_gradients(network, p, *a), parameters, at),
        reached.steps,
        reached.residual,
    )


class JaxTrainer(Trainer[Array]):
    """Trains a copy of a network: the trainer's own, whose parameters move on."""

    model: JaxModel

    def __init__(self, model: JaxModel, data: Batch, settings: TrainingSettings) -> None:
        self.model, self._data, self._runtime = model, data, model.runtime
        self._rule: Rule = (settings.objective, None)
        self._limits = Limits(0.0, 0)
        if settings.objective == "energy" and isinstance(settings.inference, IterativeInference):
            engine, self._limits = choose_engine(settings.inference)
            self._rule = ("energy", engine)
        self._optimiser, self._scale = settings.optimiser, settings.scale
        self._rate = self._runtime.to_device(np.asarray(settings.learning_rate))
        self._learner = self._runtime.run(_begin, settings.optimiser, model.parameters)
        model.parameters = self._learner.parameters

    def run(self, steps: int, batches: Batches = None, every: int = 1) -> Record:
        """Take steps, all in one call of a compiled function."""
        # JAX itself would take another row than one that there is not.
        check_run(steps, batches, every, self._data.x.shape[-2])
        rows = None if batches is None else np.asarray(batches, np.int32)
        self._learner, log = self._runtime.run(
            _train,
            self.model.network,
            self._rule,
            self._optimiser,
            steps,
            every,
            self._learner,
            self._data,
            rows,
            (self._rate, self._scale, self._limits),
        )
        self.model.parameters = self._learner.parameters
        recorded = np.arange(0, steps, every)
        log = {name: np.array(array, np.float64) for name, array in log.items()}
        every_step = {name: log.pop(name) for name in ("losses", "energies")}
        looked = {name: array[recorded] for name, array in log.items()}
        return Record(recorded=recorded, **every_step, **looked)

    def parameters(self) -> list[Float[np.ndarray, "*R ..."]]:
        """Bring weights, then biases, to the host, in float64."""
        return [np.array(array, np.float64) for array in self._learner.parameters]

    def keep(self, replicas: Sequence[int]) -> None:
        """Go on with these replicas alone."""
        if not has_replicas(self.model.network, self._learner.parameters):
            raise BackendUnavailableError("a network without replicas has none to keep")
        kept = np.asarray(list(replicas), np.int32)
        if self._rate.ndim:
            self._rate = self._runtime.run(_rows, self._rate, kept)
        parameters, means, squares = self._runtime.run(_rows, self._learner[:3], kept)
        self._learner = Learner(parameters, means, squares, self._learner.steps)
        self.model.parameters = self._learner.parameters


def _steps(
    network: NetworkSpec,
    rule: Rule,
    optimiser: Optimiser,
    steps: int,
    every: int,
    learner: Learner,
    data: Batch,
    rows: Int[Array, "T *#R N"] | None,
    numbers: tuple[Float[Array, "*#R"], Number, Limits],
) -> tuple[Learner, dict[str, Array]]:
    """Train; return what a :class:`Record` takes, of every step."""
    rate, scale, limits = numbers
    axes = int(has_replicas(network, learner.parameters))

    def norms(*arrays: Parameters) -> list[Array]:
        return [_frobenius(each, axes) for each in arrays]

    def nothing(*arrays: Parameters) -> list[Array]:
        return [jnp.zeros(a.shape, a.dtype) for a in jax.eval_shape(norms, *arrays)]

    def step(
        learner: Learner, turn: tuple[Array, Array | None]
    ) -> tuple[Learner, dict[str, Array]]:
        number, chosen = turn
        batch = data if chosen is None else jax.tree.map(lambda part: part[chosen], data)
        value, energy, gradients, taken, residual = _slope(
            network, rule, learner.parameters, batch, limits
        )
        looked = lax.cond(number % every == 0, norms, nothing, gradients, learner.parameters)
        log = {
            "losses": value,
            "energies": energy,
            "gradient_norms": looked[0],
            "parameter_norms": looked[1],
            "inference_steps": jnp.asarray(taken, jnp.int32),
            "residuals": residual,
        }
        gradients = jax.tree.map(lambda g: scale * g, gradients)
        return update(optimiser, learner, gradients, rate), log

    turns = (jnp.arange(steps, dtype=jnp.int32), rows)
    trained: tuple[Learner, dict[str, Array]] = lax.scan(step, learner, turns, length=steps)
    return trained


def _frobenius(arrays: Parameters, axes: int) -> Float[Array, "*R P"]:
    """Norm of every array of parameters, of every replica."""
    norms = []
    for array in arrays:
        entries = jnp.abs(array).reshape(*array.shape[:axes], -1)
        largest = entries.max(-1)  # of what is smaller than √(least number) squares would vanish
        scale = jnp.where(largest > 0, largest, 1)
        norms.append(scale * jnp.linalg.norm(entries / scale[..., None], axis=-1))
    return jnp.stack(norms, axis=-1)


_begin = jax.jit(beginner, static_argnums=0)
# The learner that comes in is used up: its memory becomes that of the one that goes out.
_train = jax.jit(_steps, static_argnums=(0, 1, 2, 3, 4), donate_argnums=5)
_rows = jax.jit(lambda arrays, kept: jax.tree.map(lambda array: array[kept], arrays))
