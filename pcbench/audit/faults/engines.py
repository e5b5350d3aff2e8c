"""Mistakes in an engine's settings, its steps, its records, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from pcbench.audit.tables import Question, faults
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import (
    Capability,
    Inference,
    IterativeInference,
)
from pcbench.contract.parts import Part
from pcbench.networks import activation


def going(factor: float, q: Question) -> Any:
    """Go ``factor`` times as far as was asked for, and say truly where that led."""
    lengths = {"step", "max_time"} & set(type(q.settings).model_fields)
    return q.adjusted(**{name: factor * getattr(q.settings, name) for name in lengths})


def recorded(change: Callable[[Host], Any]) -> Callable[[Question], Any]:
    """Change a record, ``(*R, T + 1, L)``, on its way back."""

    def wrong(q: Question) -> Any:
        reached = q.ask()
        return reached if reached.path is None else replace(reached, path=change(reached.path))

    return wrong


def _counts_on(q: Question) -> Any:
    """Steps are counted on from one call to the next: the counter is never set back."""
    reached, memory = q.ask(), q.model.memory
    memory["steps"] = memory.get("steps", 0) + reached.steps
    return replace(reached, steps=memory["steps"])


def _one_step_too_few(q: Question) -> Any:
    """The loop over steps of gradient inference ends one too early."""
    asked = q.settings.max_steps
    if asked < 2:
        return q.ask()
    reached = q.adjusted(max_steps=asked - 1)
    return replace(reached, steps=asked) if reached.steps == asked - 1 else reached


def _descent(
    *, start: float = 1.0, momentum: float = 0.0, in_turn: bool = False
) -> Callable[[Question], Any]:
    """Take steps of gradient inference in a linear network, in NumPy, with a mistake.

    To begin with, hidden activities are those of the forward pass times ``start``; the share
    ``momentum`` of each move is made again in the next step; layers may move in turn, from the
    output down.
    """

    def wrong(q: Question) -> Any:
        settings, weights, x = q.settings, q.model.weights, q.x

        def errors(z: list[Host]) -> list[Host]:
            return [up - low @ w.T for (low, up), w in zip(pairwise(z), weights, strict=True)]

        def forces(z: list[Host]) -> list[Host]:
            """``e_l - W_{l+1}ᵀ e_{l+1}`` of every hidden layer."""
            pairs = zip(pairwise(errors(z)), weights[1:], strict=True)
            return [error - above @ weight for (error, above), weight in pairs]

        def norm(z: list[Host]) -> float:
            return float(np.sqrt(sum(float(np.sum(force**2)) for force in forces(z))))

        def energies(z: list[Host]) -> Host:
            return np.array([float(np.sum(error**2)) for error in errors(z)]) / (2 * len(x))

        forward = list(accumulate(weights[:-1], lambda z, weight: z @ weight.T, initial=x))
        begun = norm([*forward, q.y]) or 1.0
        z = [x, *(start * each for each in forward[1:]), q.y]
        velocities, path = [0 * each for each in z], [energies(z)]
        while norm(z) > settings.residual * begun and len(path) <= settings.max_steps:
            of_all = forces(z)
            for layer in range(len(z) - 2, 0, -1):
                force = (forces(z) if in_turn else of_all)[layer - 1]
                velocities[layer] = momentum * velocities[layer] - settings.step * force
                z[layer] = z[layer] + velocities[layer]
            path.append(energies(z))
        residual = norm(z) / begun
        return Inference(
            activities=z,
            energies=path[-1],
            steps=len(path) - 1,
            residual=np.array(residual),
            converged=bool(residual <= settings.residual),
            path=np.array(path) if settings.record else None,
        )

    return wrong


FAULTS = (
    *faults(Part.INFERENCE_ACCOUNT, "infer")(
        SilentResidual=(
            "The residual that is reported is always zero.",
            lambda q: replace(reached := q.ask(), residual=0 * reached.residual),
        ),
        MeanResidual=(
            "The residual that is reported is a mean over samples, not the norm over all of them.",
            lambda q: replace(reached := q.ask(), residual=reached.residual / q.samples**0.5),
        ),
        NeverConverged=(
            "Inference is never said to have converged.",
            lambda q: replace(q.ask(), converged=False),
        ),
    ),
    *faults(Part.INFERENCE_ACCOUNT, "infer", needs={Trait.UNFINISHED})(
        AlwaysConverged=(
            "Inference is always said to have converged, also where its budget was spent before.",
            lambda q: replace(q.ask(), converged=True),
        )
    ),
    *faults(
        Part.INFERENCE,
        "infer",
        needs={Trait.ITERATIVE},
        when=lambda q: isinstance(q.settings, IterativeInference),
    )(
        SquaredResidual=(
            "Inference stops on the squared norm of the residual, which is there much sooner.",
            lambda q: q.adjusted(residual=q.settings.residual**0.5),
        )
    ),
    *faults(Part.INFERENCE_PATH, "infer", needs={Trait.ITERATIVE})(CountsOn=_counts_on),
    *faults(Part.INFERENCE_PATH, "infer", needs={Capability.GRADIENT_INFERENCE, Trait.UNFINISHED})(
        OneStepTooFew=_one_step_too_few
    ),
    *faults(Part.INFERENCE_PATH, "infer", needs={Capability.GRADIENT_INFERENCE})(
        HalfTheStep=(
            "Gradient inference takes half of the step that it is asked for: a half too many in "
            "𝓕_z.",
            lambda q: q.adjusted(step=q.settings.step / 2),
        )
    ),
    *faults(Part.INFERENCE_PATH, "infer", needs={Trait.RECORDED})(
        InventedPath=(
            "The energies that are recorded on the way are those of the end, over and over.",
            recorded(lambda path: np.repeat(path[..., -1:, :], path.shape[-2], axis=-2)),
        )
    ),
    *faults(
        Part.INFERENCE_PATH,
        "infer",
        needs={Capability.GRADIENT_INFERENCE, Trait.LINEAR},
        when=lambda q: q.plain and q.network.is_linear and not q.settings.halve,
    )(
        LayersInTurn=(
            "Layers move one after the other, from the output down, and see those that have moved.",
            _descent(in_turn=True),
        ),
        StartFromZeros=(
            "Inference begins with activities of zero, not where a forward pass ends.",
            _descent(start=0.0),
        ),
        MomentumInInference=(
            "Activities have momentum: the optimiser of the weights was taken for them as well.",
            _descent(momentum=0.5),
        ),
    ),
    *faults(Part.INFERENCE_SETTINGS, "infer", needs={Capability.GRADIENT_INFERENCE})(
        NeverHalves=(
            "The step of gradient inference is not halved where the energy rises.",
            lambda q: q.adjusted(halve=False),
        ),
        HalvesForEver=(
            "Halving goes on below the smallest step: gradient inference is not given up there.",
            lambda q: q.adjusted(smallest_step=0.0),
        ),
    ),
    *faults(Part.INFERENCE_SETTINGS, "infer", needs={Capability.ERROR_INFERENCE})(
        ErrorStepHalved=(
            "Inference in the errors takes half of the step that it is asked for.",
            lambda q: q.adjusted(step=q.settings.step / 2),
        )
    ),
    *faults(Part.INFERENCE_SETTINGS, "infer", needs={Capability.ODE_INFERENCE})(
        OneMethod=(
            "The flow is followed by the default method, whichever was asked for.",
            lambda q: q.adjusted(method="dopri5"),
        ),
        RelativeToleranceIgnored=(
            "The relative tolerance of the flow's steps is ignored.",
            lambda q: q.adjusted(rtol=0.0),
        ),
        AbsoluteToleranceIgnored=(
            "The flow's steps may be off by as much as activities are large, whatever was asked "
            "for.",
            lambda q: q.adjusted(atol=None if q.settings.atol is None else 1.0),
        ),
        HalfTheTime=(
            "The flow is followed for half of the time.",
            lambda q: q.adjusted(max_time=q.settings.max_time / 2),
        ),
    ),
    *faults(
        Part.INFERENCE_SETTINGS,
        "infer",
        needs={Capability.GAUSS_NEWTON_INFERENCE, Trait.ACTIVATION},
    )(
        LinearisesAsItLikes=(
            "A linearisation of Gauss-Newton serves three steps, whatever was asked for.",
            lambda q: q.adjusted(reuse=3),
        ),
        LinearisesEarlier=(
            "A linearisation of Gauss-Newton serves one step fewer than was asked for, if several.",
            lambda q: q.adjusted(reuse=max(1, q.settings.reuse - 1)),
        ),
    ),
    *faults(
        Part.INFERENCE_SETTINGS,
        "infer",
        needs={Trait.ITERATIVE, Trait.ACTIVATION},
        when=lambda q: not activation(q.network.activation).smooth,
    )(
        HalfAsFarAtKinks=(
            "In networks with kinks steps are half as long, and flows take half of the time.",
            lambda q: going(0.5, q),
        )
    ),
    *faults(Part.INFERENCE_RECORDS, "infer", needs={Trait.RECORDED})(
        LayersInReverse=(
            "Layers are recorded from the output down; their sum is right.",
            recorded(lambda path: path[..., ::-1]),
        ),
        AllInTheOutput=(
            "The energy is recorded as the output layer's, all of it.",
            recorded(
                lambda path: np.concatenate(
                    [0 * path[..., :-1], path.sum(axis=-1, keepdims=True)], axis=-1
                )
            ),
        ),
        RecordsBeforeTheStep=(
            "Each step is recorded before it is taken: the first row comes twice, the last is "
            "missing.",
            recorded(lambda path: np.concatenate([path[..., :1, :], path[..., :-1, :]], axis=-2)),
        ),
    ),
    *faults(Part.INFERENCE_RECORDS, "infer", needs={Trait.ITERATIVE})(
        PassesAreSteps=(
            "A step is counted as one pass, not as one forward and one back.",
            lambda q: replace(
                reached := q.ask(),
                passes=float(1 + reached.steps) if reached.passes else reached.passes,
            ),
        )
    ),
)
