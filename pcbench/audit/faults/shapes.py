"""Mistakes that show from some size on: of the batch, of layers, of depth, of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.trainer import FaultyTrainer, Rows, Slope
from pcbench.audit.wrappers import FaultyBackend, FaultyModel, Host
from pcbench.contract import Inference, InferenceSettings, Model
from pcbench.contract.parts import Part
from pcbench.networks import NetworkSpec

_SAMPLES, _OUTPUTS, _LAYERS = 32, 64, 4
"""The sizes up to which all is well: common sizes of a block, and the depth of a hasty test."""
_TINY, _HUGE = 1e-3, 1e3


class SamplesPastABlock(FaultyModel):
    """Predictions from the 33rd sample on are those of the 32nd."""

    part = Part.SHAPES

    def predict(self, x: Any) -> Any:
        """Repeat the block's last."""

        def repeated(outputs: Host) -> Host:
            rows = np.minimum(np.arange(outputs.shape[-2]), _SAMPLES - 1)
            return np.asarray(outputs[..., rows, :])

        return self.changed(super().predict(x), repeated)


class GradientsOfABlock(FaultyModel):
    """Local gradients leave out what comes after the 32nd sample."""

    part = Part.SHAPES

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Cut the batch, and keep its size in the mean."""
        samples = self.host(activities[0]).shape[-2]
        if samples <= _SAMPLES or precision is not None:
            return super().energy_gradients(activities, precision)
        cut = [self.changed(z, lambda z: z[..., :_SAMPLES, :]) for z in activities]
        made = super().energy_gradients(cut)
        return self.each_changed(made, lambda g: g * (_SAMPLES / samples))


class UnrelaxedPastABlock(FaultyModel):
    """Inference leaves hidden activities from the 33rd sample on at those of the 32nd."""

    part = Part.SHAPES

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Repeat the block's last."""

        def repeated(z: Host) -> Host:
            rows = np.minimum(np.arange(z.shape[-2]), _SAMPLES - 1)
            return np.asarray(z[..., rows, :])

        reached = super().infer(x, y, settings, precision)
        first, *hidden, last = reached.activities
        return replace(reached, activities=[first, *self.each_changed(hidden, repeated), last])


class LossOfABlock(FaultyModel):
    """The loss leaves out what comes after the 64th output."""

    part = Part.SHAPES

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Put the prediction in place of further targets."""
        if self.network.widths[-1] <= _OUTPUTS:
            return super().loss(x, y, precision)
        targets, predicted = self.host(y), self.host(self.inner.predict(x))
        targets = np.broadcast_to(targets, predicted.shape).copy()
        targets[..., _OUTPUTS:] = predicted[..., _OUTPUTS:]
        return super().loss(x, self.device(targets), precision)


class UnitsPastABlock(FaultyModel):
    """Gradients of the loss are zero from the 65th unit of a layer on."""

    part = Part.SHAPES

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Cut rows off."""

        def cut(gradient: Host) -> Host:
            kept = gradient.copy()
            axis = 1 if self.replicated else 0
            kept[(slice(None),) * axis + (slice(_OUTPUTS, None),)] = 0
            return kept

        return self.each_changed(super().loss_gradients(x, y, precision), cut)


class _Trained(FaultyTrainer):
    """Weights are updated with other gradients than are due."""

    def taught(self, layer: int, gradient: Host) -> Host:
        """Return the gradient that is taken; layers are counted from 1."""
        return gradient

    def slope(self, place: int, rows: Rows | None) -> Slope:
        """Change the weights'."""
        honest, layers = super().slope(place, rows), self.network.n_layers
        changed = [
            self.taught(index + 1, gradient) if index < layers else gradient
            for index, gradient in enumerate(honest.gradients)
        ]
        return replace(honest, gradients=changed)


class FifthLayerFrozen(_Trained):
    """Weights of the fifth layer and later ones are not updated."""

    part: ClassVar[Part] = Part.SHAPES

    def taught(self, layer: int, gradient: Host) -> Host:
        """Drop theirs."""
        return gradient if layer <= _LAYERS else np.zeros_like(gradient)


class FifthLayerDoubled(_Trained):
    """Weights of the fifth layer and later ones learn twice as fast."""

    part: ClassVar[Part] = Part.SHAPES

    def taught(self, layer: int, gradient: Host) -> Host:
        """Double theirs."""
        return gradient if layer <= _LAYERS else 2 * gradient


class _OtherWeights(FaultyBackend):
    """A backend that builds with other parameters than it is given."""

    def taken(self, parameter: Host) -> Host:
        """Return what is taken for an array of parameters."""
        return parameter

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Change them."""
        return self.model(network, [self.taken(np.asarray(p)) for p in parameters])


class TinyWeightsPruned(_OtherWeights):
    """Layers of weights that are all below 0.001 are taken for zero."""

    part = Part.SHAPES

    def taken(self, parameter: Host) -> Host:
        """Prune it."""
        return parameter if np.abs(parameter).max(initial=1e-300) >= _TINY else 0 * parameter


class GradientsClipped(FaultyModel):
    """Gradients of the loss are clipped at 1000, against explosions."""

    part = Part.SHAPES

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Clip them."""
        honest = super().loss_gradients(x, y, precision)
        return self.each_changed(honest, lambda gradient: gradient.clip(-_HUGE, _HUGE))


FAULTS = (
    SamplesPastABlock,
    GradientsOfABlock,
    UnrelaxedPastABlock,
    LossOfABlock,
    UnitsPastABlock,
    FifthLayerFrozen,
    FifthLayerDoubled,
    TinyWeightsPruned,
    GradientsClipped,
)
