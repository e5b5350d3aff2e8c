"""Hessians of functions of the parameters: their gradients, differentiated along a direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from pcbench.backends.jax.hessians.products import JaxHessian
from pcbench.backends.jax.network import Number, Parameters, layer
from pcbench.backends.jax.objectives import Batch, energy, loss_and_gradients
from pcbench.backends.jax.runtime import Runtime
from pcbench.networks import NetworkSpec


class LossHessian(JaxHessian):
    """``∇²𝓛``."""

    def __init__(
        self, network: NetworkSpec, parameters: Parameters, batch: Batch, runtime: Runtime
    ) -> None:
        super().__init__(_loss_along, network, parameters, batch, runtime)


class UnrolledHessian(JaxHessian):
    """Hessian of the energy after ``steps`` steps ``z ← z - step · ∂(N𝓕)/∂z``."""

    def __init__(
        self,
        network: NetworkSpec,
        parameters: Parameters,
        batch: Batch,
        steps: int,
        step: float,
        runtime: Runtime,
    ) -> None:
        super().__init__(
            _UnrolledAlong(steps), network, parameters, batch, runtime, numbers=(float(step),)
        )


def _loss_along(
    network: NetworkSpec,
    parameters: Parameters,
    batch: Batch,
    prepared: Any,
    numbers: tuple[Number, ...],
    direction: Parameters,
) -> tuple[Parameters, Array]:
    def gradients(parameters: Parameters) -> Parameters:
        return loss_and_gradients(network, parameters, batch)[1]

    _, moved = jax.jvp(gradients, (parameters,), (direction,))
    return moved, jnp.zeros((), batch.x.dtype)


@dataclass(frozen=True)
class _UnrolledAlong:
    """The product, after so many steps: a scan, which can be differentiated both ways."""

    steps: int

    def __call__(
        self,
        network: NetworkSpec,
        parameters: Parameters,
        batch: Batch,
        prepared: Any,
        numbers: tuple[Number, ...],
        direction: Parameters,
    ) -> tuple[Parameters, Array]:
        (step,) = numbers

        def reached(parameters: Parameters) -> Array:
            def descend(hidden: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], None]:
                slopes = jax.grad(lambda z: energy(network, parameters, batch, z))(hidden)
                rate = step * len(batch.x)
                return tuple(z - rate * s for z, s in zip(hidden, slopes, strict=True)), None

            z, feedforward = batch.x, []
            for index in range(network.n_hidden):
                z = layer(network, index, parameters, z)
                feedforward.append(z)
            hidden, _ = lax.scan(descend, tuple(feedforward), None, length=self.steps)
            return energy(network, parameters, batch, hidden)

        _, moved = jax.jvp(jax.grad(reached), (parameters,), (direction,))
        return moved, jnp.zeros((), batch.x.dtype)
