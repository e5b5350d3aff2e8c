"""Mistakes in precision: a lower one than was asked for, somewhere on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench.audit.faults._products import Multiplied
from pcbench.audit.wrappers import FaultyBackend, FaultyModel, Host
from pcbench.contract import Hessian, Inference, InferenceSettings, Model
from pcbench.contract.parts import Part
from pcbench.networks import NetworkSpec


def single(array: Host) -> Host:
    """Round to float32."""
    return np.asarray(array, np.float32).astype(np.float64)


def tensor_float(array: Host) -> Host:
    """Round to TF32, whose mantissa has 10 bits and a hidden one."""
    mantissa, exponent = np.frexp(array)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, 11)), exponent - 11))


class SingleWeights(FaultyBackend):
    """Weights pass through float32 when the model is built."""

    part = Part.DTYPE

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Round them."""
        return super().build(network, [single(parameter) for parameter in parameters])


class SingleData(FaultyBackend):
    """Inputs and targets are staged in float32, the default of the library."""

    part = Part.DTYPE

    def to_device(self, array: Host) -> Any:
        """Round them."""
        return super().to_device(single(array))


class SinglePrediction(FaultyModel):
    """The forward pass is in float32."""

    part = Part.DTYPE

    def predict(self, x: Any) -> Any:
        """Round what comes of it."""
        return self.changed(super().predict(x), single)

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Round what comes of it."""
        return self.changed(super().loss(x, y, precision), single)


class SingleInference(FaultyModel):
    """Activities are kept in float32 during inference."""

    part = Part.DTYPE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Round the hidden ones."""
        reached = super().infer(x, y, settings, precision)
        first, *hidden, last = reached.activities
        return replace(reached, activities=[first, *self.each_changed(hidden, single), last])


class SingleGradients(FaultyModel):
    """Gradients are accumulated in float32."""

    part = Part.DTYPE

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Round them."""
        return self.each_changed(super().loss_gradients(x, y, precision), single)

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Round them."""
        return self.each_changed(super().energy_gradients(activities, precision), single)


class SingleHessian(FaultyModel):
    """Hessian products are accumulated in float32."""

    part = Part.DTYPE

    def energy_hessian(
        self, activities: Sequence[Any], precision: Any = None, residual: float | None = None
    ) -> Hessian[Any]:
        """Round them."""
        honest = super().energy_hessian(activities, precision, residual)
        return Multiplied(self, honest, lambda product, vectors: single(product(vectors)))


class TensorFloats(FaultyModel):
    """TF32 is left on: factors of matrix products have a mantissa of 10 bits."""

    part = Part.DTYPE

    def predict(self, x: Any) -> Any:
        """Round the input of the first product."""
        return super().predict(self.changed(x, tensor_float))

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Round the input of the first product."""
        return super().loss_gradients(self.changed(x, tensor_float), y, precision)

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Round what the last product makes."""
        honest = super().energy_gradients(activities, precision)
        return self.each_changed(honest, tensor_float)


FAULTS = (
    SingleWeights,
    SingleData,
    SinglePrediction,
    SingleInference,
    SingleGradients,
    SingleHessian,
    TensorFloats,
)
