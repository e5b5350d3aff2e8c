"""Optimisers over replicas, each with a learning rate and a state of its own.

``torch.optim`` has one learning rate for all of a tensor, and so cannot train replicas that differ
in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.training.slope import Gradient, Product, aligned, dense
from pcbench.contract.training import Adam, Sgd


class Optimiser(ABC):
    """Moves parameters, in place.

    Parameters
    ----------
    rate
        ``η``, one number or one a replica.
    scale
        What gradients are multiplied by first.
    """

    def __init__(self, rate: Float[Tensor, "*R"], scale: float) -> None:
        self._rate, self._scale = rate, scale

    @abstractmethod
    def update(self, parameters: Sequence[Tensor], gradients: Sequence[Gradient]) -> None:
        """Take one step."""

    def keep(self, replicas: Tensor) -> None:
        """Forget all other replicas."""
        if self._rate.dim():
            self._rate = self._rate[replicas]


class Descent(Optimiser):
    """``θ ← θ - η s g``."""

    def update(self, parameters: Sequence[Tensor], gradients: Sequence[Gradient]) -> None:
        """Take one step."""
        rate = self._rate * self._scale
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if isinstance(gradient, Product):
                gradient.subtract_from(parameter, rate)
            else:
                parameter.sub_(gradient * aligned(rate, gradient))


class AdaptiveMoments(Optimiser):
    """Adam: Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1."""

    def __init__(self, rate: Float[Tensor, "*R"], scale: float, settings: Adam) -> None:
        super().__init__(rate, scale)
        self._settings, self._steps = settings, 0
        self._means: list[Tensor] = []
        self._squares: list[Tensor] = []

    def update(self, parameters: Sequence[Tensor], gradients: Sequence[Gradient]) -> None:
        """Take one step."""
        if not self._steps:
            self._means = [torch.zeros_like(parameter) for parameter in parameters]
            self._squares = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps += 1
        first, second = self._settings.beta_1, self._settings.beta_2
        rate = self._rate / (1 - first**self._steps)
        unbiased = (1 - second**self._steps) ** -0.5
        for parameter, gradient, mean, square in zip(
            parameters, map(dense, gradients), self._means, self._squares, strict=True
        ):
            scaled = gradient * self._scale
            mean.lerp_(scaled, 1 - first)
            square.mul_(second).addcmul_(scaled, scaled, value=1 - second)
            away = square.sqrt().mul_(unbiased).add_(self._settings.epsilon)
            parameter.sub_((mean / away).mul_(aligned(rate, mean)))

    def keep(self, replicas: Tensor) -> None:
        """Forget all other replicas, with their moments."""
        super().keep(replicas)
        self._means = [mean[replicas] for mean in self._means]
        self._squares = [square[replicas] for square in self._squares]


def optimiser(settings: Sgd | Adam, rate: Float[Tensor, "*R"], scale: float) -> Optimiser:
    """Return the optimiser asked for, at its first step."""
    if isinstance(settings, Adam):
        return AdaptiveMoments(rate, scale, settings)
    return Descent(rate, scale)
