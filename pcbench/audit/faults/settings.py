"""Mistakes in what becomes of an engine's settings, and in what it records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.faults._answers import Misread, Misrecorded, Misreported
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


class NeverHalves(Misread):
    """The step of gradient inference is not halved where the energy rises."""

    engine = GradientInference
    needs: ClassVar[frozenset[str]] = frozenset({Capability.GRADIENT_INFERENCE})

    def misread(self, settings: GradientInference) -> dict[str, Any]:
        """Never halve."""
        return {"halve": False}


class HalvesForEver(Misread):
    """Halving goes on below the smallest step: gradient inference is not given up there."""

    engine = GradientInference
    needs: ClassVar[frozenset[str]] = frozenset({Capability.GRADIENT_INFERENCE})

    def misread(self, settings: GradientInference) -> dict[str, Any]:
        """Forget it."""
        return {"smallest_step": 0.0}


class ErrorStepHalved(Misread):
    """Inference in the errors takes half of the step that it is asked for."""

    engine = ErrorInference
    needs: ClassVar[frozenset[str]] = frozenset({Capability.ERROR_INFERENCE})

    def misread(self, settings: ErrorInference) -> dict[str, Any]:
        """Halve it."""
        return {"step": settings.step / 2}


class _OfTheFlow(Misread):
    engine = OdeInference
    needs: ClassVar[frozenset[str]] = frozenset({Capability.ODE_INFERENCE})


class OneMethod(_OfTheFlow):
    """The flow is followed by the default method, whichever was asked for."""

    def misread(self, settings: OdeInference) -> dict[str, Any]:
        """Take the default."""
        return {"method": "dopri5"}


class RelativeToleranceIgnored(_OfTheFlow):
    """The relative tolerance of the flow's steps is ignored."""

    def misread(self, settings: OdeInference) -> dict[str, Any]:
        """Take the default."""
        return {"rtol": 0.0}


class AbsoluteToleranceIgnored(_OfTheFlow):
    """The flow's steps may be off by as much as activities are large, whatever was asked for."""

    def misread(self, settings: OdeInference) -> dict[str, Any]:
        """Take a large one."""
        return {"atol": None if settings.atol is None else 1.0}


class HalfTheTime(_OfTheFlow):
    """The flow is followed for half of the time."""

    def misread(self, settings: OdeInference) -> dict[str, Any]:
        """Halve it."""
        return {"max_time": settings.max_time / 2}


class LinearisesAsItLikes(Misread):
    """A linearisation of Gauss-Newton serves three steps, whatever was asked for."""

    engine = GaussNewtonInference
    needs: ClassVar[frozenset[str]] = frozenset(
        {Capability.GAUSS_NEWTON_INFERENCE, Trait.ACTIVATION}
    )

    def misread(self, settings: GaussNewtonInference) -> dict[str, Any]:
        """Take the default."""
        return {"reuse": 3}


class LinearisesEarlier(LinearisesAsItLikes):
    """A linearisation of Gauss-Newton serves one step fewer than was asked for, if several."""

    def misread(self, settings: GaussNewtonInference) -> dict[str, Any]:
        """Count one too many."""
        return {"reuse": max(1, settings.reuse - 1)}


class HalfAsFarAtKinks(Misread):
    """In networks with kinks steps are half as long, and flows take half of the time."""

    engine = IterativeInference
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ITERATIVE, Trait.ACTIVATION})

    def misread(self, settings: IterativeInference) -> dict[str, Any]:
        """Halve what there is to halve."""
        if activation(self.network.activation).smooth:
            return {}
        lengths = {"step", "max_time"} & set(type(settings).model_fields)
        return {name: getattr(settings, name) / 2 for name in lengths}


class LayersInReverse(Misrecorded):
    """Layers are recorded from the output down; their sum is right."""

    def rewritten(self, path: Host) -> Host:
        """Turn their order round."""
        return path[..., ::-1]


class AllInTheOutput(Misrecorded):
    """The energy is recorded as the output layer's, all of it."""

    def rewritten(self, path: Host) -> Host:
        """Add the others to it."""
        total = path.sum(axis=-1, keepdims=True)
        return np.concatenate([0 * path[..., :-1], total], axis=-1)


class RecordsBeforeTheStep(Misrecorded):
    """Each step is recorded before it is taken: the first row comes twice, the last is missing."""

    def rewritten(self, path: Host) -> Host:
        """Shift rows."""
        return np.concatenate([path[..., :1, :], path[..., :-1, :]], axis=-2)


class PassesAreSteps(Misreported):
    """A step is counted as one pass, not as one forward and one back."""

    part = Part.INFERENCE_RECORDS
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ITERATIVE})

    def told(self, reached: Inference[Any], x: Any) -> Inference[Any]:
        """Count them so."""
        return replace(reached, passes=float(1 + reached.steps)) if reached.passes else reached


FAULTS = (
    NeverHalves,
    HalvesForEver,
    ErrorStepHalved,
    OneMethod,
    RelativeToleranceIgnored,
    AbsoluteToleranceIgnored,
    HalfTheTime,
    LinearisesAsItLikes,
    LinearisesEarlier,
    HalfAsFarAtKinks,
    LayersInReverse,
    AllInTheOutput,
    RecordsBeforeTheStep,
    PassesAreSteps,
)
