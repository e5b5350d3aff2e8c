"""What an answer takes, beyond what is a capability: what some mistakes need to be made at all."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from pcbench.contract import Capability, InferenceSettings, IterativeInference, TrainingSettings
from pcbench.networks import NetworkSpec


class Trait(StrEnum):
    """A property of a question."""

    ACTIVATION = "activation"  # the activation is not the identity
    LINEAR = "linear"  # the network is a product of matrices
    BIAS = "bias"  # the network has biases
    PREDICTIVE_CODING = "predictive_coding"  # training is on the energy
    BACKPROPAGATION = "backpropagation"  # training is on the loss
    ADAM = "adam"  # training is by Adam
    OWN_RATES = "own_rates"  # replicas are trained at learning rates that differ
    SCALED = "scaled"  # the optimiser sees gradients that are multiplied by another factor than 1
    ITERATIVE = "iterative"  # inference takes steps
    RECORDED = "recorded"  # the energies on the way are asked for
    UNFINISHED = "unfinished"  # inference ends before it has converged, by its own account
    ASKED_AGAIN = "asked_again"  # the same model is asked the same sort of question once more
    OTHER_BATCH = "other_batch"  # the batch is not of the size of the first one in the case


def network_uses(
    network: NetworkSpec, parameters: Sequence[Float[np.ndarray, "..."]]
) -> frozenset[str]:
    """Return what any question about a network takes."""
    activated = network.activation != "identity"
    return _used(
        {
            Capability.NONLINEAR: activated or network.bias,
            Capability.CONVOLUTIONS: bool(network.convolutions),
            Capability.REPLICAS: parameters[0].ndim > len(network.shapes[0]),
            Trait.ACTIVATION: activated,
            Trait.LINEAR: network.is_linear,
            Trait.BIAS: network.bias,
        }
    )


def settings_uses(settings: InferenceSettings | TrainingSettings) -> frozenset[str]:
    """Return what inference or training by some settings takes."""
    if not isinstance(settings, TrainingSettings):
        iterative = isinstance(settings, IterativeInference)
        recorded = isinstance(settings, IterativeInference) and settings.record
        uses = {settings.capability: True, Trait.ITERATIVE: iterative, Trait.RECORDED: recorded}
        return _used(uses)
    infers = settings.objective == "energy"
    uses = {
        Capability.TRAINING: True,
        Trait.PREDICTIVE_CODING: infers,
        Trait.BACKPROPAGATION: not infers,
        Trait.ADAM: settings.optimiser.optimiser == "adam",
        Trait.OWN_RATES: bool(np.ptp(settings.learning_rate) > 0),
        Trait.SCALED: settings.scale != 1,
    }
    return _used(uses) | (settings_uses(settings.inference) if infers else frozenset())


def _used(uses: dict[str, bool]) -> frozenset[str]:
    return frozenset(use for use, needed in uses.items() if needed)
