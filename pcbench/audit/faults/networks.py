"""Mistakes in the network itself: activations, biases, convolutions; sizes and replicas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np

from pcbench.audit.faults.engines import recorded
from pcbench.audit.faults.inference import hidden
from pcbench.audit.tables import Question, building_faults, faults, trainer_faults
from pcbench.audit.trainer import FaultyTrainer, Rows, Slope
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host, put_question
from pcbench.contract import (
    Capability,
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
    OdeInference,
)
from pcbench.contract.parts import Part
from pcbench.networks import NetworkSpec, activation


def _derivative_forgotten(q: Question) -> Any:
    """Backpropagation forgets the derivative of the activation, as if the network were linear."""
    straight = replace(q.network, activation="identity")
    model, backend = q.model, q.model.backend
    inner = backend.build(straight, model.parameters)
    return [model.host(g) for g in put_question(inner, backend, q.method, q.given)]


def _still_where_activated(q: Question) -> Any:
    """In networks with activations only gradient inference moves; other engines tell, and stay."""
    able = Capability.GRADIENT_INFERENCE in q.model.backend.capabilities
    others = GaussNewtonInference | ErrorInference | OdeInference
    if not able or q.network.is_linear or not isinstance(q.settings, others):
        return q.ask()
    asked = {name: getattr(q.settings, name) for name in ("max_steps", "residual", "record")}
    return q.ask(settings=GradientInference(step=1e-16, **asked))


def _biases_changed(q: Question, factor: int | float) -> list[Host]:
    correct, layers = q.ask(), q.network.n_layers
    return [*correct[:layers], *(factor * gradient for gradient in correct[layers:])]


def _kernels(change: Callable[[Host], Any]) -> Callable[..., Any]:
    """Change every kernel, ``(*R, channels out, channels in, side, side)``."""

    def wrong(network: NetworkSpec, parameters: list[Host]) -> tuple[NetworkSpec, list[Host]]:
        count = len(network.convolutions)
        changed = [change(kernel).copy() for kernel in parameters[:count]]
        return network, [*changed, *parameters[count:]]

    return wrong


def _channels_last(q: Question) -> Any:
    """Images are read channel by channel where they were flattened pixel by pixel."""
    if not q.network.convolutions:
        return q.ask()
    channels, height, width = q.network.convolutions[0].image
    pixels = q.x.reshape(*q.x.shape[:-1], height, width, channels)
    return q.ask(x=np.moveaxis(pixels, -1, -3).reshape(q.x.shape))


NETWORKS = (
    *building_faults(Part.ACTIVATIONS, needs={Trait.ACTIVATION})(
        PostForPre=(
            "The activation sits where the other convention has it: post for pre, and pre for "
            "post.",
            lambda n, p: (replace(n, convention="pre" if n.convention == "post" else "post"), p),
        ),
        ActivationLeftOut=(
            "The activation is never applied.",
            lambda n, p: (replace(n, activation="identity"), p),
        ),
        LeakForgotten=(
            "The leaky rectifier does not leak.",
            lambda n, p: (replace(n, activation=n.activation.removeprefix("leaky_")), p),
        ),
    ),
    *faults(Part.ACTIVATIONS, "predict", needs={Trait.ACTIVATION})(
        OutputActivated=(
            "The activation is applied to the prediction as well.",
            lambda q: activation(q.network.activation).value(np, q.ask()),
        )
    ),
    *faults(Part.ACTIVATIONS, "loss_gradients", needs={Trait.ACTIVATION})(
        DerivativeForgotten=_derivative_forgotten
    ),
    *faults(
        Part.ACTIVATIONS, "infer", needs={Trait.ACTIVATION, Trait.ITERATIVE}, when=lambda q: q.plain
    )(StillWhereActivated=_still_where_activated),
    *building_faults(Part.BIASES, needs={Trait.BIAS})(
        BiasesIgnored=(
            "Biases are taken for zeros.",
            lambda n, p: (n, [*p[: n.n_layers], *(0 * bias for bias in p[n.n_layers :])]),
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
        ChannelsLast=_channels_last
    ),
    *faults(Part.CONVOLUTIONS, "energy_gradients", needs={Capability.CONVOLUTIONS})(
        KernelGradientsAveraged=(
            "Gradients of a kernel are averaged over the image, where a sum is due.",
            lambda q: [
                gradient / (layer.image[1] * layer.image[2]) if layer else gradient
                for gradient, layer in zip_longest(q.ask(), q.network.convolutions)
            ],
        )
    ),
)


_SAMPLES, _OUTPUTS, _LAYERS = 32, 64, 4
"""The sizes up to which all is well: common sizes of a block, and the depth of a hasty test."""
_TINY, _HUGE = 1e-3, 1e3


def _block_repeated(z: Host) -> Any:
    """Repeat the block's last sample."""
    return z[..., np.minimum(np.arange(z.shape[-2]), _SAMPLES - 1), :]


def _gradients_of_a_block(q: Question) -> list[Host]:
    """Local gradients leave out what comes after the 32nd sample."""
    samples = q.samples
    if samples <= _SAMPLES or q.precision is not None:
        return list(q.ask())
    made = q.ask(activities=[z[..., :_SAMPLES, :] for z in q.activities])
    return [gradient * (_SAMPLES / samples) for gradient in made]


def _loss_of_a_block(q: Question) -> Any:
    """The loss leaves out what comes after the 64th output."""
    predicted = q.also("predict", x=q.x)
    targets = np.broadcast_to(q.y, predicted.shape).copy()
    targets[..., _OUTPUTS:] = predicted[..., _OUTPUTS:]
    return q.ask(y=targets)


def _units_cut_off(q: Question) -> list[Host]:
    """Gradients of the loss are zero from the 65th unit of a layer on."""
    found = [gradient.copy() for gradient in q.ask()]
    for gradient in found:
        gradient[(slice(None),) * int(q.replicated) + (slice(_OUTPUTS, None),)] = 0
    return found


def _from_the_fifth_layer(factor: float) -> Callable[..., Slope]:
    """Multiply the gradients of weights that are learned from."""

    def wrong(
        trainer: FaultyTrainer, correct: Callable[..., Slope], place: int, rows: Rows | None
    ) -> Slope:
        slope, layers = correct(place, rows), trainer.network.n_layers
        late = [_LAYERS <= index < layers for index in range(len(slope.gradients))]
        changed = zip(late, slope.gradients, strict=True)
        return replace(slope, gradients=[factor * g if changes else g for changes, g in changed])

    return wrong


def _shorter_steps(q: Question) -> Any:
    """Inference divides its step by the number of replicas, as a mean over them would."""
    if not isinstance(q.settings, GradientInference | ErrorInference):
        return q.ask()
    return q.adjusted(step=q.settings.step / len(q.model.parameters[0]))


def _moves_on(q: Question) -> Any:
    """A replica that has arrived moves on until the last one has."""
    reached = q.ask()
    own = isinstance(q.settings, GradientInference | ErrorInference | GaussNewtonInference)
    if not own or not reached.steps:
        return reached
    on = q.adjusted(residual=1e-300, max_steps=reached.steps)
    return replace(on, converged=reached.converged)


SHAPES = (
    *faults(Part.SHAPES, "predict")(
        SamplesPastABlock=(
            "Predictions from the 33rd sample on are those of the 32nd.",
            lambda q: _block_repeated(q.ask()),
        )
    ),
    *faults(Part.SHAPES, "energy_gradients")(GradientsOfABlock=_gradients_of_a_block),
    *faults(Part.SHAPES, "infer")(
        UnrelaxedPastABlock=(
            "Inference leaves hidden activities from the 33rd sample on at those of the 32nd.",
            hidden(_block_repeated),
        )
    ),
    *faults(Part.SHAPES, "loss", when=lambda q: q.network.widths[-1] > _OUTPUTS)(
        LossOfABlock=_loss_of_a_block
    ),
    *faults(Part.SHAPES, "loss_gradients")(
        UnitsPastABlock=_units_cut_off,
        GradientsClipped=(
            "Gradients of the loss are clipped at 1000, against explosions.",
            lambda q: [gradient.clip(-_HUGE, _HUGE) for gradient in q.ask()],
        ),
    ),
    *trainer_faults(Part.SHAPES, "slope")(
        FifthLayerFrozen=(
            "Weights of the fifth layer and later ones are not updated.",
            _from_the_fifth_layer(0.0),
        ),
        FifthLayerDoubled=(
            "Weights of the fifth layer and later ones learn twice as fast.",
            _from_the_fifth_layer(2.0),
        ),
    ),
    *building_faults(Part.SHAPES)(
        TinyWeightsPruned=(
            "Layers of weights that are all below 0.001 are taken for zero.",
            lambda n, p: (n, [(np.abs(a).max(initial=1e-300) >= _TINY) * a for a in p]),
        )
    ),
)
REPLICAS = (
    *faults(Part.REPLICAS, "loss", needs={Capability.REPLICAS})(
        ReplicasInReverse=(
            "The losses of replicas come in the opposite order.",
            lambda q: q.ask()[::-1],
        ),
        OneLossForAll=(
            "The loss is averaged over replicas, too.",
            lambda q: np.full_like(losses := q.ask(), losses.mean()),
        ),
    ),
    *faults(Part.REPLICAS, "infer", needs={Capability.REPLICAS})(
        FirstReplicaForAll=(
            "All replicas are given the activities of the first: a broadcast along the wrong axis.",
            hidden(lambda z: np.broadcast_to(z[:1], z.shape).copy() if z.ndim == 3 else z),
        )
    ),
    *faults(Part.REPLICAS, "energy_gradients", needs={Capability.REPLICAS})(
        GradientsSummedOverReplicas=(
            "Local gradients are summed over replicas, as of weights that they share.",
            lambda q: [
                np.broadcast_to(g.sum(axis=0, keepdims=True), g.shape).copy() for g in q.ask()
            ],
        )
    ),
    *faults(Part.REPLICAS, "infer", needs={Capability.REPLICAS, Trait.ITERATIVE})(
        StepOverReplicas=_shorter_steps,
        MovesOnWithTheOthers=_moves_on,
    ),
    *faults(Part.REPLICAS, "infer", needs={Capability.REPLICAS, Trait.RECORDED})(
        RecordsOfNeighbours=(
            "Replicas are given each other's records.",
            recorded(lambda path: path[::-1]),
        )
    ),
    *building_faults(Part.REPLICAS, needs={Capability.REPLICAS, Trait.ACTIVATION})(
        RectifierNotInReplicas=(
            "With replicas, rectifiers and SiLU are not applied: that case fell out of a table.",
            lambda n, p: (
                replace(n, activation="identity")
                if p[0].ndim > len(n.shapes[0]) and n.activation in ("relu", "leaky_relu", "silu")
                else n,
                p,
            ),
        )
    ),
)
FAULTS = (*NETWORKS, *SHAPES, *REPLICAS)
