"""Learning rules: from a batch to an objective and its gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from pcbench.backends.jax.engines import choice
from pcbench.backends.jax.engines.exact import infer_exactly
from pcbench.backends.jax.engines.relaxation import Engine, Limits, relax
from pcbench.backends.jax.network import Parameters, over_replicas
from pcbench.backends.jax.objectives import Batch, energy_gradients, loss, loss_and_gradients
from pcbench.contract.inference import InferenceSettings, IterativeInference
from pcbench.contract.training import Objective
from pcbench.networks import NetworkSpec


class Slope(NamedTuple):
    """An objective at the current parameters, on a batch.

    Attributes
    ----------
    loss
        ``𝓛``.
    energy
        The energy that inference reached; of backpropagation the loss.
    gradients
        Of weights, then of biases.
    inference_steps, residual
        How inference went; 0 where nothing was inferred.
    """

    loss: Float[Array, "*R"]
    energy: Float[Array, "*R"]
    gradients: Parameters
    inference_steps: Array | int
    residual: Float[Array, "*R"]


@dataclass(frozen=True)
class Rule:
    """Static: what is compiled for.

    Attributes
    ----------
    objective
        Backpropagation, or predictive coding.
    engine
        How predictive coding infers; ``None`` for the closed form.
    """

    objective: Objective
    engine: Engine | None

    def __call__(
        self, network: NetworkSpec, parameters: Parameters, batch: Batch, limits: Limits
    ) -> Slope:
        """Say where downhill is."""
        if self.objective == "loss":
            value, gradients = over_replicas(
                network, lambda p, b: loss_and_gradients(network, p, b), parameters, batch
            )
            return Slope(value, value, gradients, 0, jnp.zeros_like(value))
        if self.engine is None:
            reached = infer_exactly(network, parameters, batch)
        else:
            reached = relax(network, self.engine, 0, parameters, batch, limits)
        first, *hidden, last = reached.activities
        at = (Batch(first, last, batch.precision), tuple(hidden))
        return Slope(
            over_replicas(network, lambda p, b: loss(network, p, b), parameters, batch),
            reached.energies.sum(-1),
            over_replicas(network, lambda p, a: energy_gradients(network, p, *a), parameters, at),
            reached.steps,
            reached.residual,
        )


def rule(objective: Objective, inference: InferenceSettings) -> tuple[Rule, Limits]:
    """Return the rule asked for, and its numbers."""
    if objective == "loss" or not isinstance(inference, IterativeInference):
        return Rule(objective, None), Limits(0.0, 0)
    engine, limits = choice.engine(inference)
    return Rule(objective, engine), limits
