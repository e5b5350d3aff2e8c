"""Mistakes in an engine's settings, its steps, its records, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from pcbench.audit.tables import Question, faults
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import (
    Capability,
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
    Inference,
    IterativeInference,
    OdeInference,
)
from pcbench.contract.parts import Part
from pcbench.networks import activation


def _misread(
    engine: type[IterativeInference], change: Callable[[Any], dict[str, Any]]
) -> Callable[[Question], Any]:
    """Change settings of one sort of engine on their way."""

    def wrong(q: Question) -> Any:
        if not isinstance(q.settings, engine):
            return q.ask()
        return q.ask(settings=q.settings.model_copy(update=change(q.settings)))

    return wrong


def _half_as_far_at_kinks(q: Question) -> Any:
    """Halve what there is to halve."""
    if activation(q.network.activation).smooth:
        return q.ask()
    lengths = {"step", "max_time"} & set(type(q.settings).model_fields)
    halved = {name: getattr(q.settings, name) / 2 for name in lengths}
    return q.ask(settings=q.settings.model_copy(update=halved))


def _recorded(change: Callable[[Host], Any]) -> Callable[[Question], Any]:
    """Change a record, ``(*R, T + 1, L)``, on its way back."""

    def wrong(q: Question) -> Any:
        reached = q.ask()
        return reached if reached.path is None else replace(reached, path=change(reached.path))

    return wrong


def _all_in_the_output(path: Host) -> Any:
    total = path.sum(axis=-1, keepdims=True)
    return np.concatenate([0 * path[..., :-1], total], axis=-1)


def _before_the_step(path: Host) -> Any:
    return np.concatenate([path[..., :1, :], path[..., :-1, :]], axis=-2)


def _one_pass_a_step(q: Question) -> Any:
    reached = q.ask()
    return replace(reached, passes=float(1 + reached.steps)) if reached.passes else reached


def _mean_residual(q: Question) -> Any:
    reached = q.ask()
    return replace(reached, residual=reached.residual / q.samples**0.5)


def _counts_on(q: Question) -> Any:
    reached, memory = q.ask(), q.model.memory
    memory["steps"] = memory.get("steps", 0) + reached.steps
    return replace(reached, steps=memory["steps"])


def _one_step_too_few(q: Question) -> Any:
    """Spend a budget that is a step smaller, and report the whole of it."""
    if not isinstance(q.settings, GradientInference) or q.settings.max_steps < 2:
        return q.ask()
    asked = q.settings.max_steps
    reached = q.ask(settings=q.settings.model_copy(update={"max_steps": asked - 1}))
    return replace(reached, steps=asked) if reached.steps == asked - 1 else reached


class _Steps:
    """Gradient inference in linear networks, in NumPy; as it stands, without a mistake."""

    def __init__(self, weights: Sequence[Host]) -> None:
        self._weights = weights

    def begin(self, forward: list[Host]) -> list[Host]:
        """Return the hidden activities to begin with, of those of a forward pass."""
        return forward

    def move(self, z: list[Host], step: float) -> list[Host]:
        """Take a step, of all of ``z_0 … z_L``."""
        forces = self.forces(z)
        return [z[0], *(a - step * f for a, f in zip(z[1:-1], forces, strict=True)), z[-1]]

    def forces(self, z: Sequence[Host]) -> list[Host]:
        """``e_l - W_{l+1}ᵀ e_{l+1}`` of every hidden layer."""
        errors = zip(pairwise(self._errors(z)), self._weights[1:], strict=True)
        return [error - above @ weight for (error, above), weight in errors]

    def infer(self, x: Host, y: Host, settings: GradientInference) -> Inference[Any]:
        """Take steps until the residual is small enough, or the budget spent."""
        forward = [x]
        for weight in self._weights[:-1]:
            forward.append(forward[-1] @ weight.T)
        start = self._norm([*forward, y]) or 1.0
        z, steps = [x, *self.begin(forward[1:]), y], 0
        path = [self._energies(z)]
        while self._norm(z) > settings.residual * start and steps < settings.max_steps:
            z, steps = self.move(z, settings.step), steps + 1
            path.append(self._energies(z))
        residual = self._norm(z) / start
        return Inference(
            activities=z,
            energies=path[-1],
            steps=steps,
            residual=np.array(residual),
            converged=bool(residual <= settings.residual),
            path=np.array(path) if settings.record else None,
        )

    def _errors(self, z: Sequence[Host]) -> list[Host]:
        return [up - low @ w.T for (low, up), w in zip(pairwise(z), self._weights, strict=True)]

    def _energies(self, z: Sequence[Host]) -> Host:
        squares = [float(np.sum(error**2)) for error in self._errors(z)]
        return np.array(squares) / (2 * len(z[0]))

    def _norm(self, z: Sequence[Host]) -> float:
        return float(np.sqrt(sum(float(np.sum(force**2)) for force in self.forces(z))))


class _InTurn(_Steps):
    def move(self, z: list[Host], step: float) -> list[Host]:
        moved = list(z)
        for layer in range(len(z) - 2, 0, -1):
            moved[layer] = moved[layer] - step * self.forces(moved)[layer - 1]
        return moved


class _FromZeros(_Steps):
    def begin(self, forward: list[Host]) -> list[Host]:
        return [0 * z for z in forward]


class _WithMomentum(_Steps):
    def begin(self, forward: list[Host]) -> list[Host]:
        self._velocities = [0 * z for z in forward]
        return forward

    def move(self, z: list[Host], step: float) -> list[Host]:
        moved = zip(self._velocities, self.forces(z), strict=True)
        self._velocities = [0.5 * velocity - step * force for velocity, force in moved]
        return [z[0], *(a + v for a, v in zip(z[1:-1], self._velocities, strict=True)), z[-1]]


def _by(steps: type[_Steps]) -> Callable[[Question], Any]:
    def wrong(q: Question) -> Any:
        own = isinstance(q.settings, GradientInference) and not q.settings.halve
        if not own or not q.network.is_linear:
            return q.ask()
        return steps(q.model.weights).infer(q.x, q.y, q.settings)

    return wrong


FAULTS = (
    *faults(Part.INFERENCE_ACCOUNT, "infer")(
        SilentResidual=(
            "The residual that is reported is always zero.",
            lambda q: replace(reached := q.ask(), residual=0 * reached.residual),
        ),
        MeanResidual=(
            "The residual that is reported is a mean over samples, not the norm over all of them.",
            _mean_residual,
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
    *faults(Part.INFERENCE, "infer", needs={Trait.ITERATIVE})(
        SquaredResidual=(
            "Inference stops on the squared norm of the residual, which is there much sooner.",
            _misread(IterativeInference, lambda asked: {"residual": asked.residual**0.5}),
        )
    ),
    *faults(Part.INFERENCE_PATH, "infer", needs={Trait.ITERATIVE})(
        CountsOn=(
            "Steps are counted on from one call to the next: the counter is never set back.",
            _counts_on,
        )
    ),
    *faults(Part.INFERENCE_PATH, "infer", needs={Capability.GRADIENT_INFERENCE, Trait.UNFINISHED})(
        OneStepTooFew=(
            "The loop over steps of gradient inference ends one too early.",
            _one_step_too_few,
        )
    ),
    *faults(Part.INFERENCE_PATH, "infer", needs={Capability.GRADIENT_INFERENCE})(
        HalfTheStep=(
            "Gradient inference takes half of the step that it is asked for: a half too many in "
            "𝓕_z.",
            _misread(GradientInference, lambda asked: {"step": asked.step / 2}),
        )
    ),
    *faults(Part.INFERENCE_PATH, "infer", needs={Trait.RECORDED})(
        InventedPath=(
            "The energies that are recorded on the way are those of the end, over and over.",
            _recorded(lambda path: np.repeat(path[..., -1:, :], path.shape[-2], axis=-2)),
        )
    ),
    *faults(
        Part.INFERENCE_PATH,
        "infer",
        needs={Capability.GRADIENT_INFERENCE, Trait.LINEAR},
        when=lambda q: q.plain,
    )(
        LayersInTurn=(
            "Layers move one after the other, from the output down, and see those that have moved.",
            _by(_InTurn),
        ),
        StartFromZeros=(
            "Inference begins with activities of zero, not where a forward pass ends.",
            _by(_FromZeros),
        ),
        MomentumInInference=(
            "Activities have momentum: the optimiser of the weights was taken for them as well.",
            _by(_WithMomentum),
        ),
    ),
    *faults(Part.INFERENCE_SETTINGS, "infer", needs={Capability.GRADIENT_INFERENCE})(
        NeverHalves=(
            "The step of gradient inference is not halved where the energy rises.",
            _misread(GradientInference, lambda asked: {"halve": False}),
        ),
        HalvesForEver=(
            "Halving goes on below the smallest step: gradient inference is not given up there.",
            _misread(GradientInference, lambda asked: {"smallest_step": 0.0}),
        ),
    ),
    *faults(Part.INFERENCE_SETTINGS, "infer", needs={Capability.ERROR_INFERENCE})(
        ErrorStepHalved=(
            "Inference in the errors takes half of the step that it is asked for.",
            _misread(ErrorInference, lambda asked: {"step": asked.step / 2}),
        )
    ),
    *faults(Part.INFERENCE_SETTINGS, "infer", needs={Capability.ODE_INFERENCE})(
        OneMethod=(
            "The flow is followed by the default method, whichever was asked for.",
            _misread(OdeInference, lambda asked: {"method": "dopri5"}),
        ),
        RelativeToleranceIgnored=(
            "The relative tolerance of the flow's steps is ignored.",
            _misread(OdeInference, lambda asked: {"rtol": 0.0}),
        ),
        AbsoluteToleranceIgnored=(
            "The flow's steps may be off by as much as activities are large, whatever was asked "
            "for.",
            _misread(OdeInference, lambda asked: {"atol": None if asked.atol is None else 1.0}),
        ),
        HalfTheTime=(
            "The flow is followed for half of the time.",
            _misread(OdeInference, lambda asked: {"max_time": asked.max_time / 2}),
        ),
    ),
    *faults(
        Part.INFERENCE_SETTINGS,
        "infer",
        needs={Capability.GAUSS_NEWTON_INFERENCE, Trait.ACTIVATION},
    )(
        LinearisesAsItLikes=(
            "A linearisation of Gauss-Newton serves three steps, whatever was asked for.",
            _misread(GaussNewtonInference, lambda asked: {"reuse": 3}),
        ),
        LinearisesEarlier=(
            "A linearisation of Gauss-Newton serves one step fewer than was asked for, if several.",
            _misread(GaussNewtonInference, lambda asked: {"reuse": max(1, asked.reuse - 1)}),
        ),
    ),
    *faults(Part.INFERENCE_SETTINGS, "infer", needs={Trait.ITERATIVE, Trait.ACTIVATION})(
        HalfAsFarAtKinks=(
            "In networks with kinks steps are half as long, and flows take half of the time.",
            _half_as_far_at_kinks,
        )
    ),
    *faults(Part.INFERENCE_RECORDS, "infer", needs={Trait.RECORDED})(
        LayersInReverse=(
            "Layers are recorded from the output down; their sum is right.",
            _recorded(lambda path: path[..., ::-1]),
        ),
        AllInTheOutput=(
            "The energy is recorded as the output layer's, all of it.",
            _recorded(_all_in_the_output),
        ),
        RecordsBeforeTheStep=(
            "Each step is recorded before it is taken: the first row comes twice, the last is "
            "missing.",
            _recorded(_before_the_step),
        ),
    ),
    *faults(Part.INFERENCE_RECORDS, "infer", needs={Trait.ITERATIVE})(
        PassesAreSteps=(
            "A step is counted as one pass, not as one forward and one back.",
            _one_pass_a_step,
        )
    ),
)
