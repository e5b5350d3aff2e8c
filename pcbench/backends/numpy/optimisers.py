"""Optimisers by their definitions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pcbench.contract.training import Adam, TrainingSettings

Array = Float[np.ndarray, "..."]


class Optimiser(ABC):
    """Moves parameters.

    Parameters
    ----------
    rate
        ``η``.
    scale
        What gradients are multiplied by first.
    """

    def __init__(self, rate: float, scale: float) -> None:
        self._rate, self._scale = rate, scale

    @abstractmethod
    def updated(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> list[Array]:
        """Return the parameters after one step."""


class Descent(Optimiser):
    """``θ ← θ - η s g``."""

    def updated(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> list[Array]:
        """Return the parameters after one step."""
        return [
            parameter - self._rate * self._scale * gradient
            for parameter, gradient in zip(parameters, gradients, strict=True)
        ]


class AdaptiveMoments(Optimiser):
    """Adam: Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1, line by line."""

    def __init__(self, rate: float, scale: float, settings: Adam) -> None:
        super().__init__(rate, scale)
        self._settings, self._t = settings, 0
        self._m: list[Array] | None = None
        self._v: list[Array] | None = None

    def updated(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> list[Array]:
        """Return the parameters after one step."""
        beta_1, beta_2 = self._settings.beta_1, self._settings.beta_2
        scaled = [self._scale * gradient for gradient in gradients]
        nothing = [np.zeros_like(gradient) for gradient in scaled]
        self._t += 1
        self._m = _decayed(self._m or nothing, scaled, beta_1)
        self._v = _decayed(self._v or nothing, [g**2 for g in scaled], beta_2)
        m_hat = [m / (1 - beta_1**self._t) for m in self._m]
        v_hat = [v / (1 - beta_2**self._t) for v in self._v]
        return [
            parameter - self._rate * m / (np.sqrt(v) + self._settings.epsilon)
            for parameter, m, v in zip(parameters, m_hat, v_hat, strict=True)
        ]


def _decayed(kept: list[Array], new: list[Array], beta: float) -> list[Array]:
    return [beta * k + (1 - beta) * n for k, n in zip(kept, new, strict=True)]


def optimiser(settings: TrainingSettings) -> Optimiser:
    """Return the optimiser asked for, at its first step."""
    rate, scale = float(settings.learning_rate), settings.scale
    if isinstance(settings.optimiser, Adam):
        return AdaptiveMoments(rate, scale, settings.optimiser)
    return Descent(rate, scale)
