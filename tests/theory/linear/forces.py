"""What pulls at the hidden activities of linear networks, all together."""

from collections.abc import Sequence

import numpy as np

from pcbench.theory.arrays import Inputs, Targets, Units, Weights
from pcbench.theory.linear.equilibrium import hidden_forces, residuals


def feedforward_residual(weights: Weights, x: Inputs, y: Targets) -> float:
    """``‖∂(N𝓕)/∂z‖`` at the feedforward activities, where gradient inference starts.

    Only the last hidden layer feels a force there: ``‖R W_L‖``; 0 without hidden layers.
    """
    if len(weights) == 1:
        return 0.0
    return float(np.linalg.norm(residuals(weights, x, y) @ weights[-1]))


def residual_norm(weights: Weights, errors: Sequence[Units]) -> float:
    """``‖∂(N𝓕)/∂z‖`` over all hidden activities."""
    return float(np.sqrt(sum(np.sum(force**2) for force in hidden_forces(weights, errors))))
