"""Mistakes that show from some size on: of the batch, of layers, of depth, of weights; replicas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench.audit.faults.inference import hidden
from pcbench.audit.tables import Question, building_faults, faults, trainer_faults
from pcbench.audit.trainer import FaultyTrainer, Rows, Slope
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import Capability, ErrorInference, GaussNewtonInference, GradientInference
from pcbench.contract.parts import Part

_SAMPLES, _OUTPUTS, _LAYERS = 32, 64, 4
"""The sizes up to which all is well: common sizes of a block, and the depth of a hasty test."""
_TINY, _HUGE = 1e-3, 1e3


def _block_repeated(z: Host) -> Any:
    """Repeat the block's last sample."""
    return z[..., np.minimum(np.arange(z.shape[-2]), _SAMPLES - 1), :]


def _gradients_of_a_block(q: Question) -> list[Host]:
    """Cut the batch, and keep its size in the mean."""
    samples = q.samples
    if samples <= _SAMPLES or q.precision is not None:
        return list(q.ask())
    made = q.ask(activities=[z[..., :_SAMPLES, :] for z in q.activities])
    return [gradient * (_SAMPLES / samples) for gradient in made]


def _loss_of_a_block(q: Question) -> Any:
    """Put the prediction in place of further targets."""
    predicted = q.also("predict", x=q.x)
    targets = np.broadcast_to(q.y, predicted.shape).copy()
    targets[..., _OUTPUTS:] = predicted[..., _OUTPUTS:]
    return q.ask(y=targets)


def _units_cut_off(q: Question) -> list[Host]:
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


def _pruned(parameter: Host) -> Host:
    return parameter if np.abs(parameter).max(initial=1e-300) >= _TINY else 0 * parameter


def _summed_over_replicas(gradient: Host) -> Any:
    return np.broadcast_to(gradient.sum(axis=0, keepdims=True), gradient.shape).copy()


def _shorter_steps(q: Question) -> Any:
    if not isinstance(q.settings, GradientInference | ErrorInference):
        return q.ask()
    step = q.settings.step / len(q.model.parameters[0])
    return q.ask(settings=q.settings.model_copy(update={"step": step}))


def _moves_on(q: Question) -> Any:
    """Take as many steps with all replicas."""
    reached = q.ask()
    own = isinstance(q.settings, GradientInference | ErrorInference | GaussNewtonInference)
    if not own or not reached.steps:
        return reached
    on = q.settings.model_copy(update={"residual": 1e-300, "max_steps": reached.steps})
    return replace(q.ask(settings=on), converged=reached.converged)


def _records_of_neighbours(q: Question) -> Any:
    reached = q.ask()
    return reached if reached.path is None else replace(reached, path=reached.path[::-1])


def _replicated(q: Question) -> bool:
    return q.replicated


SHAPES = (
    *faults(Part.SHAPES, "predict")(
        SamplesPastABlock=(
            "Predictions from the 33rd sample on are those of the 32nd.",
            lambda q: _block_repeated(q.ask()),
        )
    ),
    *faults(Part.SHAPES, "energy_gradients")(
        GradientsOfABlock=(
            "Local gradients leave out what comes after the 32nd sample.",
            _gradients_of_a_block,
        )
    ),
    *faults(Part.SHAPES, "infer")(
        UnrelaxedPastABlock=(
            "Inference leaves hidden activities from the 33rd sample on at those of the 32nd.",
            hidden(_block_repeated),
        )
    ),
    *faults(Part.SHAPES, "loss", when=lambda q: q.network.widths[-1] > _OUTPUTS)(
        LossOfABlock=("The loss leaves out what comes after the 64th output.", _loss_of_a_block)
    ),
    *faults(Part.SHAPES, "loss_gradients")(
        UnitsPastABlock=(
            "Gradients of the loss are zero from the 65th unit of a layer on.",
            _units_cut_off,
        ),
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
            lambda b: b.build(parameters=map(_pruned, b.parameters)),
        )
    ),
)
REPLICAS = (
    *faults(Part.REPLICAS, "loss", needs={Capability.REPLICAS}, when=_replicated)(
        ReplicasInReverse=(
            "The losses of replicas come in the opposite order.",
            lambda q: q.ask()[::-1],
        ),
        OneLossForAll=(
            "The loss is averaged over replicas, too.",
            lambda q: np.full_like(losses := q.ask(), losses.mean()),
        ),
    ),
    *faults(Part.REPLICAS, "infer", needs={Capability.REPLICAS}, when=_replicated)(
        FirstReplicaForAll=(
            "All replicas are given the activities of the first: a broadcast along the wrong axis.",
            hidden(lambda z: np.broadcast_to(z[:1], z.shape).copy() if z.ndim == 3 else z),
        )
    ),
    *faults(Part.REPLICAS, "energy_gradients", needs={Capability.REPLICAS}, when=_replicated)(
        GradientsSummedOverReplicas=(
            "Local gradients are summed over replicas, as of weights that they share.",
            lambda q: [_summed_over_replicas(gradient) for gradient in q.ask()],
        )
    ),
    *faults(Part.REPLICAS, "infer", needs={Capability.REPLICAS, Trait.ITERATIVE}, when=_replicated)(
        StepOverReplicas=(
            "Inference divides its step by the number of replicas, as a mean over them would.",
            _shorter_steps,
        ),
        MovesOnWithTheOthers=(
            "A replica that has arrived moves on until the last one has.",
            _moves_on,
        ),
    ),
    *faults(Part.REPLICAS, "infer", needs={Capability.REPLICAS, Trait.RECORDED}, when=_replicated)(
        RecordsOfNeighbours=("Replicas are given each other's records.", _records_of_neighbours)
    ),
    *building_faults(Part.REPLICAS, needs={Capability.REPLICAS, Trait.ACTIVATION})(
        RectifierNotInReplicas=(
            "With replicas, rectifiers and SiLU are not applied: that case fell out of a table.",
            lambda b: (
                b.build(activation="identity")
                if b.replicated and b.network.activation in ("relu", "leaky_relu", "silu")
                else b.build()
            ),
        )
    ),
)
FAULTS = (*SHAPES, *REPLICAS)
