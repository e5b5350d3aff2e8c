"""The training loop: one scan on the device, and one visit to the host at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from pcbench.backends.jax.engines.relaxation import Limits
from pcbench.backends.jax.model import JaxModel
from pcbench.backends.jax.network import Number, Parameters, has_replicas
from pcbench.backends.jax.objectives import Batch
from pcbench.backends.jax.training.optimisers import Learner, beginner, update
from pcbench.backends.jax.training.rules import Rule, rule
from pcbench.contract.model import BackendUnavailableError
from pcbench.contract.training import Optimiser, Record, Trainer, TrainingSettings, check_run
from pcbench.networks import NetworkSpec


class JaxTrainer(Trainer[Array]):
    """Trains a copy of a network.

    Parameters
    ----------
    model
        Where it starts: the trainer's own, whose parameters move on.
    data
        All samples.
    settings
        The rule.
    """

    model: JaxModel

    def __init__(self, model: JaxModel, data: Batch, settings: TrainingSettings) -> None:
        self.model, self._data, self._runtime = model, data, model.runtime
        self._rule, self._limits = rule(settings.objective, settings.inference)
        self._optimiser, self._scale = settings.optimiser, settings.scale
        self._rate = self._runtime.stage(np.asarray(settings.learning_rate))
        self._learner = self._runtime.run(_begin, settings.optimiser, model.parameters)
        model.parameters = self._learner.parameters

    def run(
        self, steps: int, batches: Int[np.ndarray, "T *R N"] | None = None, every: int = 1
    ) -> Record:
        """Take steps, all in one call of a compiled function.

        Raises
        ------
        ValueError, IndexError
            As of :func:`check_run`; JAX itself would take another row.
        """
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
        log = jax.tree.map(lambda array: np.array(array, np.float64), log)
        return Record(
            losses=log.losses,
            energies=log.energies,
            recorded=recorded,
            gradient_norms=log.details.gradient_norms[recorded],
            parameter_norms=log.details.parameter_norms[recorded],
            inference_steps=log.inference_steps[recorded],
            residuals=log.residuals[recorded],
        )

    def parameters(self) -> list[Float[np.ndarray, "*R ..."]]:
        """Bring weights, then biases, to the host, in float64."""
        return [np.array(array, np.float64) for array in self._learner.parameters]

    def keep(self, replicas: Sequence[int]) -> None:
        """Go on with these replicas alone.

        Raises
        ------
        BackendUnavailableError
            If the network has no replicas.
        """
        if not has_replicas(self.model.network, self._learner.parameters):
            raise BackendUnavailableError("a network without replicas has none to keep")
        kept = np.asarray(list(replicas), np.int32)
        if self._rate.ndim:
            self._rate = self._runtime.run(_rows, self._rate, kept)
        parameters, means, squares = self._runtime.run(_rows, self._learner[:3], kept)
        self._learner = Learner(parameters, means, squares, self._learner.steps)
        self.model.parameters = self._learner.parameters


class _Norms(NamedTuple):
    gradient_norms: Float[Array, "*T *R P"]
    parameter_norms: Float[Array, "*T *R P"]


class _Log(NamedTuple):
    losses: Float[Array, "*T *R"]
    energies: Float[Array, "*T *R"]
    inference_steps: Float[Array, "*T"]
    residuals: Float[Array, "*T *R"]
    details: _Norms


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
) -> tuple[Learner, _Log]:
    rate, scale, limits = numbers
    axes = int(has_replicas(network, learner.parameters))

    def norms(gradients: Parameters, parameters: Parameters) -> _Norms:
        return _Norms(_frobenius(gradients, axes), _frobenius(parameters, axes))

    def nothing(gradients: Parameters, parameters: Parameters) -> _Norms:
        shapes: _Norms = jax.eval_shape(norms, gradients, parameters)
        return _Norms(*(jnp.zeros(shape.shape, shape.dtype) for shape in shapes))

    def step(learner: Learner, turn: tuple[Array, Array | None]) -> tuple[Learner, _Log]:
        number, chosen = turn
        batch = data if chosen is None else jax.tree.map(lambda part: part[chosen], data)
        slope = rule(network, learner.parameters, batch, limits)
        arrays = (slope.gradients, learner.parameters)
        looked = lax.cond(number % every == 0, norms, nothing, *arrays)
        log = _Log(
            slope.loss,
            slope.energy,
            jnp.asarray(slope.inference_steps, jnp.int32),
            slope.residual,
            looked,
        )
        gradients = jax.tree.map(lambda g: scale * g, slope.gradients)
        return update(optimiser, learner, gradients, rate), log

    turns = (jnp.arange(steps, dtype=jnp.int32), rows)
    trained: tuple[Learner, _Log] = lax.scan(step, learner, turns, length=steps)
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
