"""Mistakes in what inference says of itself, and in the steps that it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.faults._answers import Misread, Misrecorded, Misreported
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyModel, Host
from pcbench.contract import Capability, GradientInference, Inference, InferenceSettings
from pcbench.contract.inference import IterativeInference
from pcbench.contract.parts import Part


class SilentResidual(Misreported):
    """The residual that is reported is always zero."""

    def told(self, reached: Inference[Any], x: Any) -> Inference[Any]:
        """Report nothing left."""
        return replace(reached, residual=self.changed(reached.residual, lambda host: 0 * host))


class MeanResidual(Misreported):
    """The residual that is reported is a mean over samples, not the norm over all of them."""

    def told(self, reached: Inference[Any], x: Any) -> Inference[Any]:
        """Divide by the root of their number."""
        root = self.host(x).shape[-2] ** 0.5
        return replace(reached, residual=self.changed(reached.residual, lambda host: host / root))


class NeverConverged(Misreported):
    """Inference is never said to have converged."""

    def told(self, reached: Inference[Any], x: Any) -> Inference[Any]:
        """Say no."""
        return replace(reached, converged=False)


class AlwaysConverged(Misreported):
    """Inference is always said to have converged, also where its budget was spent before."""

    needs: ClassVar[frozenset[str]] = frozenset({Trait.UNFINISHED})

    def told(self, reached: Inference[Any], x: Any) -> Inference[Any]:
        """Say yes."""
        return replace(reached, converged=True)


class SquaredResidual(Misread):
    """Inference stops on the squared norm of the residual, which is there much sooner."""

    part = Part.INFERENCE
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ITERATIVE})
    engine = IterativeInference

    def misread(self, settings: IterativeInference) -> dict[str, Any]:
        """Ask for the root of the residual that is wanted."""
        return {"residual": settings.residual**0.5}


class CountsOn(Misreported):
    """Steps are counted on from one call to the next: the counter is never set back."""

    part = Part.INFERENCE_PATH
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ITERATIVE})

    def told(self, reached: Inference[Any], x: Any) -> Inference[Any]:
        """Add those of all calls before."""
        self.memory["steps"] = self.memory.get("steps", 0) + reached.steps
        return replace(reached, steps=self.memory["steps"])


class OneStepTooFew(FaultyModel):
    """The loop over steps of gradient inference ends one too early."""

    part = Part.INFERENCE_PATH
    needs: ClassVar[frozenset[str]] = frozenset({Capability.GRADIENT_INFERENCE, Trait.UNFINISHED})

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Spend a budget that is a step smaller, and report the whole of it."""
        if not isinstance(settings, GradientInference) or settings.max_steps < 2:
            return super().infer(x, y, settings, precision)
        asked = settings.max_steps
        fewer = settings.model_copy(update={"max_steps": asked - 1})
        reached = super().infer(x, y, fewer, precision)
        spent = reached.steps == asked - 1
        return replace(reached, steps=asked) if spent else reached


class HalfTheStep(Misread):
    """Gradient inference takes half of the step that it is asked for: a half too many in 𝓕_z."""

    part = Part.INFERENCE_PATH
    needs: ClassVar[frozenset[str]] = frozenset({Capability.GRADIENT_INFERENCE})
    engine = GradientInference

    def misread(self, settings: GradientInference) -> dict[str, Any]:
        """Halve it."""
        return {"step": settings.step / 2}


class InventedPath(Misrecorded):
    """The energies that are recorded on the way are those of the end, over and over."""

    part = Part.INFERENCE_PATH

    def rewritten(self, path: Host) -> Host:
        """Repeat the last ones."""
        return np.repeat(path[..., -1:, :], path.shape[-2], axis=-2)


FAULTS = (
    SilentResidual,
    MeanResidual,
    NeverConverged,
    AlwaysConverged,
    SquaredResidual,
    CountsOn,
    OneStepTooFew,
    HalfTheStep,
    InventedPath,
)
