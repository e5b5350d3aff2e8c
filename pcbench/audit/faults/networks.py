"""Mistakes in the network itself: activations, biases, convolutions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyBackend, FaultyModel, Host
from pcbench.contract import (
    Capability,
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
    Inference,
    InferenceSettings,
    Model,
    OdeInference,
)
from pcbench.contract.parts import Part
from pcbench.networks import NetworkSpec, activation
from pcbench.networks.specification import Convention


class PostForPre(FaultyBackend):
    """The activation sits where the other convention has it: post for pre, and pre for post."""

    part = Part.ACTIVATIONS
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ACTIVATION})

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Build the other one."""
        other: Convention = "pre" if network.convention == "post" else "post"
        return super().build(replace(network, convention=other), parameters)


class ActivationLeftOut(FaultyBackend):
    """The activation is never applied."""

    part = Part.ACTIVATIONS
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ACTIVATION})

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Build a network with the identity."""
        return super().build(replace(network, activation="identity"), parameters)


class LeakForgotten(FaultyBackend):
    """The leaky rectifier does not leak."""

    part = Part.ACTIVATIONS
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ACTIVATION})

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Build a rectifier that is none."""
        if network.activation == "leaky_relu":
            network = replace(network, activation="relu")
        return super().build(network, parameters)


class OutputActivated(FaultyModel):
    """The activation is applied to the prediction as well."""

    part = Part.ACTIVATIONS
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ACTIVATION})

    def predict(self, x: Any) -> Any:
        """Apply it."""
        phi = activation(self.network.activation).value
        return self.changed(super().predict(x), lambda u: phi(np, u))


class DerivativeForgotten(FaultyModel):
    """Backpropagation forgets the derivative of the activation, as if the network were linear."""

    part = Part.ACTIVATIONS
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ACTIVATION})

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Take the gradients of the network without activations."""
        straight = replace(self.network, activation="identity")
        model = self.backend.build(straight, self.parameters)
        return FaultyModel(
            model, self.backend, straight, self.parameters, self.memory
        ).loss_gradients(x, y, precision)


class StillWhereActivated(FaultyModel):
    """In networks with activations only gradient inference moves; other engines tell, and stay."""

    part = Part.ACTIVATIONS
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ACTIVATION, Trait.ITERATIVE})

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Take steps of nothing."""
        able = Capability.GRADIENT_INFERENCE in self.backend.capabilities
        if not able or self.replicated or precision is not None or self.network.is_linear:
            return super().infer(x, y, settings, precision)
        if not isinstance(settings, GaussNewtonInference | ErrorInference | OdeInference):
            return super().infer(x, y, settings, precision)
        still = GradientInference(
            step=1e-16,
            max_steps=settings.max_steps,
            residual=settings.residual,
            record=settings.record,
        )
        return super().infer(x, y, still)


class BiasesIgnored(FaultyBackend):
    """Biases are taken for zeros."""

    part = Part.BIASES
    needs: ClassVar[frozenset[str]] = frozenset({Trait.BIAS})

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Set them to zero."""
        layers = network.n_layers
        zeros = [0 * bias for bias in parameters[layers:]]
        return super().build(network, [*parameters[:layers], *zeros])


class BiasGradientForgotten(FaultyModel):
    """Biases have no local gradient: they are not updated."""

    part = Part.BIASES
    needs: ClassVar[frozenset[str]] = frozenset({Trait.BIAS})

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Let them have none."""
        honest, layers = super().energy_gradients(activities, precision), self.network.n_layers
        none = self.each_changed(honest[layers:], lambda gradient: 0 * gradient)
        return [*honest[:layers], *none]


class BiasGradientSummed(FaultyModel):
    """The gradient of the loss in a bias is summed over the batch, the weights' are averaged."""

    part = Part.BIASES
    needs: ClassVar[frozenset[str]] = frozenset({Trait.BIAS})

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Multiply by the size of the batch."""
        samples = self.host(y).shape[-2]
        honest, layers = super().loss_gradients(x, y, precision), self.network.n_layers
        summed = self.each_changed(honest[layers:], lambda gradient: samples * gradient)
        return [*honest[:layers], *summed]


class _OtherKernels(FaultyBackend):
    """A network whose kernels have a change."""

    part = Part.CONVOLUTIONS
    needs: ClassVar[frozenset[str]] = frozenset({Capability.CONVOLUTIONS})

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Change them."""
        count = len(network.convolutions)
        changed = [self.kernel(kernel) for kernel in parameters[:count]]
        return super().build(network, [*changed, *parameters[count:]])

    @abstractmethod
    def kernel(self, kernel: Host) -> Any:
        """Return ``(*R, channels out, channels in, side, side)`` with the mistake."""


class KernelsFlipped(_OtherKernels):
    """Kernels are flipped, as in a convolution of the mathematicians."""

    def kernel(self, kernel: Host) -> Any:
        """Turn it by half a circle."""
        return kernel[..., ::-1, ::-1].copy()


class RowsForColumns(_OtherKernels):
    """Kernels have rows for columns."""

    def kernel(self, kernel: Host) -> Any:
        """Transpose it."""
        return np.swapaxes(kernel, -1, -2).copy()


class ChannelsLast(FaultyModel):
    """Images are read channel by channel where they were flattened pixel by pixel."""

    part = Part.CONVOLUTIONS
    needs: ClassVar[frozenset[str]] = frozenset({Capability.CONVOLUTIONS})

    def predict(self, x: Any) -> Any:
        """Put every pixel in the place of another."""
        if not self.network.convolutions:
            return super().predict(x)
        channels, height, width = self.network.convolutions[0].image

        def misread(flat: Host) -> Any:
            pixels = flat.reshape(*flat.shape[:-1], height, width, channels)
            return np.moveaxis(pixels, -1, -3).reshape(flat.shape)

        return super().predict(self.changed(x, misread))


class KernelGradientsAveraged(FaultyModel):
    """Gradients of a kernel are averaged over the image, where a sum is due."""

    part = Part.CONVOLUTIONS
    needs: ClassVar[frozenset[str]] = frozenset({Capability.CONVOLUTIONS})

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Divide by the number of pixels."""
        honest = list(super().energy_gradients(activities, precision))
        for index, layer in enumerate(self.network.convolutions):
            pixels = layer.image[1] * layer.image[2]
            honest[index] = self.device(self.host(honest[index]) / pixels)
        return honest


FAULTS = (
    PostForPre,
    ActivationLeftOut,
    LeakForgotten,
    OutputActivated,
    DerivativeForgotten,
    StillWhereActivated,
    BiasesIgnored,
    BiasGradientForgotten,
    BiasGradientSummed,
    KernelsFlipped,
    RowsForColumns,
    ChannelsLast,
    KernelGradientsAveraged,
)
