"""Mistakes in the network itself: activations, biases, convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench.audit.tables import Building, Question, building_faults, faults
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import (
    Capability,
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
    Model,
    OdeInference,
)
from pcbench.contract.parts import Part
from pcbench.networks import activation


def _leaks(b: Building) -> str:
    return "relu" if b.network.activation == "leaky_relu" else b.network.activation


def _activated(q: Question) -> Any:
    return activation(q.network.activation).value(np, q.ask())


def _derivative_forgotten(q: Question) -> Any:
    """Take the gradients of the network without activations."""
    straight = replace(q.network, activation="identity")
    return q.of(q.model.backend.build(straight, q.model.parameters)).ask()


def _still_where_activated(q: Question) -> Any:
    """Take steps of nothing."""
    able = Capability.GRADIENT_INFERENCE in q.model.backend.capabilities
    others = GaussNewtonInference | ErrorInference | OdeInference
    if not able or q.network.is_linear or not isinstance(q.settings, others):
        return q.ask()
    asked = {name: getattr(q.settings, name) for name in ("max_steps", "residual", "record")}
    return q.ask(settings=GradientInference(step=1e-16, **asked))


def _biases_changed(q: Question, factor: int | float) -> list[Host]:
    correct, layers = q.ask(), q.network.n_layers
    return [*correct[:layers], *(factor * gradient for gradient in correct[layers:])]


def _kernels(change: Callable[[Host], Any]) -> Callable[[Building], Model[Any]]:
    """Change every kernel, ``(*R, channels out, channels in, side, side)``."""

    def wrong(b: Building) -> Model[Any]:
        count = len(b.network.convolutions)
        changed = [change(kernel).copy() for kernel in b.parameters[:count]]
        return b.build(parameters=[*changed, *b.parameters[count:]])

    return wrong


def _channels_last(q: Question) -> Any:
    """Put every pixel in the place of another."""
    if not q.network.convolutions:
        return q.ask()
    channels, height, width = q.network.convolutions[0].image
    pixels = q.x.reshape(*q.x.shape[:-1], height, width, channels)
    return q.ask(x=np.moveaxis(pixels, -1, -3).reshape(q.x.shape))


def _averaged_over_pixels(q: Question) -> list[Host]:
    correct = list(q.ask())
    for index, layer in enumerate(q.network.convolutions):
        correct[index] = correct[index] / (layer.image[1] * layer.image[2])
    return correct


FAULTS = (
    *building_faults(Part.ACTIVATIONS, needs={Trait.ACTIVATION})(
        PostForPre=(
            "The activation sits where the other convention has it: post for pre, and pre for "
            "post.",
            lambda b: b.build(convention="pre" if b.network.convention == "post" else "post"),
        ),
        ActivationLeftOut=(
            "The activation is never applied.",
            lambda b: b.build(activation="identity"),
        ),
        LeakForgotten=(
            "The leaky rectifier does not leak.",
            lambda b: b.build(activation=_leaks(b)),
        ),
    ),
    *faults(Part.ACTIVATIONS, "predict", needs={Trait.ACTIVATION})(
        OutputActivated=("The activation is applied to the prediction as well.", _activated)
    ),
    *faults(Part.ACTIVATIONS, "loss_gradients", needs={Trait.ACTIVATION})(
        DerivativeForgotten=(
            "Backpropagation forgets the derivative of the activation, as if the network were "
            "linear.",
            _derivative_forgotten,
        )
    ),
    *faults(
        Part.ACTIVATIONS, "infer", needs={Trait.ACTIVATION, Trait.ITERATIVE}, when=lambda q: q.plain
    )(
        StillWhereActivated=(
            "In networks with activations only gradient inference moves; other engines tell, and "
            "stay.",
            _still_where_activated,
        )
    ),
    *building_faults(Part.BIASES, needs={Trait.BIAS})(
        BiasesIgnored=(
            "Biases are taken for zeros.",
            lambda b: b.build(parameters=[*b.weights, *(0 * bias for bias in b.biases)]),
        )
    ),
    *faults(Part.BIASES, "energy_gradients", needs={Trait.BIAS})(
        BiasGradientForgotten=(
            "Biases have no local gradient: they are not updated.",
            lambda q: _biases_changed(q, 0),
        )
    ),
    *faults(Part.BIASES, "loss_gradients", needs={Trait.BIAS})(
        BiasGradientSummed=(
            "The gradient of the loss in a bias is summed over the batch, the weights' are "
            "averaged.",
            lambda q: _biases_changed(q, q.samples),
        )
    ),
    *building_faults(Part.CONVOLUTIONS, needs={Capability.CONVOLUTIONS})(
        KernelsFlipped=(
            "Kernels are flipped, as in a convolution of the mathematicians.",
            _kernels(lambda kernel: kernel[..., ::-1, ::-1]),
        ),
        RowsForColumns=(
            "Kernels have rows for columns.",
            _kernels(lambda kernel: np.swapaxes(kernel, -1, -2)),
        ),
    ),
    *faults(Part.CONVOLUTIONS, "predict", needs={Capability.CONVOLUTIONS})(
        ChannelsLast=(
            "Images are read channel by channel where they were flattened pixel by pixel.",
            _channels_last,
        )
    ),
    *faults(Part.CONVOLUTIONS, "energy_gradients", needs={Capability.CONVOLUTIONS})(
        KernelGradientsAveraged=(
            "Gradients of a kernel are averaged over the image, where a sum is due.",
            _averaged_over_pixels,
        )
    ),
)
