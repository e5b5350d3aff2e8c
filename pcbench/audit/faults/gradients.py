"""Mistakes in gradients, of the loss and of the energy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pcbench.audit.faults._feedforward import feedforward
from pcbench.audit.wrappers import FaultyModel, Host
from pcbench.contract.parts import Part

Change = Callable[[int, Host], Any]


class _LossGradients(FaultyModel):
    """Gradients of the loss, each with a change."""

    part = Part.LOSS_GRADIENTS

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Change them."""
        samples = self.host(y).shape[-2]
        honest = super().loss_gradients(x, y, precision)
        return [
            self.device(np.asarray(self.change(index, self.host(gradient), samples)))
            for index, gradient in enumerate(honest)
        ]

    @abstractmethod
    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Return the gradient of one array of parameters with the mistake."""


class _EnergyGradients(FaultyModel):
    """Gradients of the energy, each with a change."""

    part = Part.ENERGY_GRADIENTS

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Change them."""
        samples = self.host(activities[0]).shape[-2]
        honest = super().energy_gradients(activities, precision)
        return [
            self.device(np.asarray(self.change(index, self.host(gradient), samples)))
            for index, gradient in enumerate(honest)
        ]

    @abstractmethod
    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Return the gradient of one array of parameters with the mistake."""


class LossGradientsSummed(_LossGradients):
    """Gradients of the loss are summed over the batch, where a mean is due."""

    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Multiply by the size of the batch."""
        return samples * gradient


class LossGradientsOfMeanSquare(_LossGradients):
    """Gradients are those of ``mse_loss``, 2/d_L times what is due."""

    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Scale as a mean over outputs, without the half, has it."""
        return 2 / self.network.widths[-1] * gradient


class LossGradientsDecayed(_LossGradients):
    """Weight decay was left in the gradients of the loss."""

    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Add a hundredth of the weights."""
        return gradient + 1e-2 * self.parameters[index]


class FirstLayerDetached(_LossGradients):
    """The gradient of the loss is cut off above the first layer: a detach too many."""

    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Let the first weights have none."""
        return gradient if index else 0 * gradient


class LossGradientsDownhill(_LossGradients):
    """Gradients of the loss point downhill: the minus of the update is in them already."""

    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Turn it round."""
        return -gradient


class LossGradientsClipped(_LossGradients):
    """Gradients of the loss are clipped to a norm of a tenth."""

    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Shorten what is longer."""
        norm = float(np.linalg.norm(gradient))
        return gradient * min(1.0, 0.1 / norm) if norm > 0 else gradient


class EnergyGradientsSummed(_EnergyGradients):
    """Local gradients are summed over the batch, where a mean is due."""

    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Multiply by the size of the batch."""
        return samples * gradient


class EnergyGradientsUphill(_EnergyGradients):
    """Local gradients have the sign of the Hebbian update, not of the gradient."""

    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Turn it round."""
        return -gradient


class EnergyGradientsTransposed(_EnergyGradients):
    """The outer product is the wrong way round, which the shape of a square layer lets pass."""

    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Transpose what is square."""
        dense = index < self.network.n_layers and len(self.network.shapes[index]) == 2
        square = dense and gradient.shape[-1] == gradient.shape[-2]
        return np.swapaxes(gradient, -1, -2) if square else gradient


class EnergyGradientsDecayed(_EnergyGradients):
    """Weight decay was left in the local gradients."""

    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Add a hundredth of the weights."""
        return gradient + 1e-2 * self.parameters[index]


class LastLayerHalved(_EnergyGradients):
    """The last layer's local gradient has a half too many."""

    def change(self, index: int, gradient: Host, samples: int) -> Any:
        """Halve it."""
        return gradient / 2 if index == self.network.n_layers - 1 else gradient


class OneSampleLeftOut(FaultyModel):
    """The loop over samples that local gradients are added up in ends one too early."""

    part = Part.ENERGY_GRADIENTS

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Leave the last sample out, and divide by the size of the whole batch all the same."""
        samples = self.host(activities[0]).shape[-2]
        if samples < 2:
            return super().energy_gradients(activities, precision)
        fewer = [self.changed(z, lambda host: host[..., :-1, :]) for z in activities]
        if precision is not None:
            precision = self.changed(precision, lambda host: host[..., :-1, :])
        honest = super().energy_gradients(fewer, precision)
        return self.each_changed(honest, lambda host: host * (samples - 1) / samples)


class GradientsBeforeInference(FaultyModel):
    """Weights learn from the activities of the forward pass: inference comes to nothing."""

    part = Part.ENERGY_GRADIENTS

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Put the feedforward activities in place of those given."""
        if self.replicated or precision is not None:
            return super().energy_gradients(activities, precision)
        stale = feedforward(self, activities[0])
        return super().energy_gradients([*stale[:-1], activities[-1]])


class StaleActivities(FaultyModel):
    """Local gradients are those of the batch before."""

    part = Part.ENERGY_GRADIENTS

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Keep the activities for the next time."""
        shapes = [self.host(z).shape for z in activities]
        before = self.memory.get(str(shapes), activities)
        self.memory[str(shapes)] = list(activities)
        return super().energy_gradients(before, precision)


FAULTS = (
    LossGradientsSummed,
    LossGradientsOfMeanSquare,
    LossGradientsDecayed,
    FirstLayerDetached,
    LossGradientsDownhill,
    LossGradientsClipped,
    EnergyGradientsSummed,
    EnergyGradientsUphill,
    EnergyGradientsTransposed,
    EnergyGradientsDecayed,
    LastLayerHalved,
    OneSampleLeftOut,
    GradientsBeforeInference,
    StaleActivities,
)
