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

    ACTIVATION = "activation"
    """The activation is not the identity."""
    LINEAR = "linear"
    """The network is a product of matrices."""
    BIAS = "bias"
    """The network has biases."""
    PREDICTIVE_CODING = "predictive_coding"
    """Training is on the energy."""
    BACKPROPAGATION = "backpropagation"
    """Training is on the loss."""
    ADAM = "adam"
    """Training is by Adam."""
    OWN_RATES = "own_rates"
    """Replicas are trained at learning rates that differ."""
    SCALED = "scaled"
    """Gradients are multiplied by another factor than 1 before the optimiser sees them."""
    ITERATIVE = "iterative"
    """Inference takes steps."""
    RECORDED = "recorded"
    """The energies on the way are asked for."""
    UNFINISHED = "unfinished"
    """Inference ends before it has converged, by its own account."""
    ASKED_AGAIN = "asked_again"
    """The same model is asked the same sort of question, not for the first time."""
    OTHER_BATCH = "other_batch"
    """The batch is not of the size of the first one in the case."""


def network_uses(
    network: NetworkSpec, parameters: Sequence[Float[np.ndarray, "..."]]
) -> frozenset[str]:
    """Return what any question about a network takes."""
    uses: dict[str, bool] = {
        Capability.NONLINEAR: network.activation != "identity" or network.bias,
        Capability.CONVOLUTIONS: bool(network.convolutions),
        Capability.REPLICAS: parameters[0].ndim > len(network.shapes[0]),
        Trait.ACTIVATION: network.activation != "identity",
        Trait.LINEAR: network.is_linear,
        Trait.BIAS: network.bias,
    }
    return frozenset(use for use, needed in uses.items() if needed)


def inference_uses(settings: InferenceSettings) -> frozenset[str]:
    """Return what inference takes."""
    iterative = isinstance(settings, IterativeInference)
    uses: dict[str, bool] = {
        settings.capability: True,
        Trait.ITERATIVE: iterative,
        Trait.RECORDED: isinstance(settings, IterativeInference) and settings.record,
    }
    return frozenset(use for use, needed in uses.items() if needed)


def training_uses(settings: TrainingSettings) -> frozenset[str]:
    """Return what training takes."""
    infers = settings.objective == "energy"
    inference = inference_uses(settings.inference) if infers else frozenset()
    uses: dict[str, bool] = {
        Capability.TRAINING: True,
        Trait.PREDICTIVE_CODING: infers,
        Trait.BACKPROPAGATION: not infers,
        Trait.ADAM: settings.optimiser.optimiser == "adam",
        Trait.OWN_RATES: bool(np.ptp(settings.learning_rate) > 0),
        Trait.SCALED: settings.scale != 1,
    }
    return inference.union(use for use, needed in uses.items() if needed)
