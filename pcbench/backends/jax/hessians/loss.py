"""The Hessian of the loss: its gradient, differentiated along a direction."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from pcbench.backends.jax.hessians.products import JaxHessian
from pcbench.backends.jax.network import Number, Parameters
from pcbench.backends.jax.objectives import Batch, loss_and_gradients
from pcbench.backends.jax.runtime import Runtime
from pcbench.networks import NetworkSpec


class LossHessian(JaxHessian):
    """``∇²𝓛``."""

    def __init__(
        self, network: NetworkSpec, parameters: Parameters, batch: Batch, runtime: Runtime
    ) -> None:
        super().__init__(_along, network, parameters, batch, runtime)


def _along(
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
