"""Adam, on the host: it only supplies the networks along a training run that a case asks about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Arrays = Sequence[Float[np.ndarray, "_out _inp"]]


class Adam:
    """Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1, with its default decay rates.

    On the host and in float64, so that no backend needs an optimiser to be judged, and all walk the
    same path where their gradients agree.

    Parameters
    ----------
    learning_rate
        ``α``.
    """

    _BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self._steps = 0
        self._mean: list[Float[np.ndarray, "_out _inp"]] = []
        self._square: list[Float[np.ndarray, "_out _inp"]] = []

    def update(self, weights: Arrays, gradients: Arrays) -> list[Float[np.ndarray, "_out _inp"]]:
        """Return the weights after one step."""
        if not self._steps:
            self._mean = [np.zeros_like(weight) for weight in weights]
            self._square = [np.zeros_like(weight) for weight in weights]
        self._steps += 1
        rate = self.learning_rate / (1 - self._BETA_1**self._steps)
        scale = 1 / np.sqrt(1 - self._BETA_2**self._steps)
        updated = []
        for weight, gradient, mean, square in zip(
            weights, gradients, self._mean, self._square, strict=True
        ):
            mean *= self._BETA_1
            mean += (1 - self._BETA_1) * gradient
            square *= self._BETA_2
            square += (1 - self._BETA_2) * gradient**2
            updated.append(weight - rate * mean / (scale * np.sqrt(square) + self._EPSILON))
        return updated
