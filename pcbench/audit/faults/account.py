"""Mistakes in what inference says of itself, and in the steps that it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyModel
from pcbench.backends import Capability, GradientInference, Inference, InferenceSettings
from pcbench.backends.inference import IterativeInference
from pcbench.parts import Part


class SilentResidual(FaultyModel):
    """The residual that is reported is always zero."""

    part = Part.INFERENCE_ACCOUNT

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Report nothing left."""
        reached = super().infer(x, y, settings, precision)
        return replace(reached, residual=self.changed(reached.residual, lambda host: 0 * host))


class MeanResidual(FaultyModel):
    """The residual that is reported is a mean over samples, not the norm over all of them."""

    part = Part.INFERENCE_ACCOUNT

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Divide by the root of their number."""
        reached = super().infer(x, y, settings, precision)
        root = self.host(x).shape[-2] ** 0.5
        return replace(reached, residual=self.changed(reached.residual, lambda host: host / root))


class NeverConverged(FaultyModel):
    """Inference is never said to have converged."""

    part = Part.INFERENCE_ACCOUNT

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Say no."""
        return replace(super().infer(x, y, settings, precision), converged=False)


class AlwaysConverged(FaultyModel):
    """Inference is always said to have converged, also where its budget was spent before."""

    part = Part.INFERENCE_ACCOUNT
    needs: ClassVar[frozenset[str]] = frozenset({Trait.UNFINISHED})

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Say yes."""
        return replace(super().infer(x, y, settings, precision), converged=True)


class SquaredResidual(FaultyModel):
    """Inference stops on the squared norm of the residual, which is there much sooner."""

    part = Part.INFERENCE
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ITERATIVE})

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Ask for the root of the residual that is wanted."""
        if isinstance(settings, IterativeInference):
            settings = settings.model_copy(update={"residual": settings.residual**0.5})
        return super().infer(x, y, settings, precision)


class CountsOn(FaultyModel):
    """Steps are counted on from one call to the next: the counter is never set back."""

    part = Part.INFERENCE_PATH
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ITERATIVE})

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Add those of all calls before."""
        reached = super().infer(x, y, settings, precision)
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


class HalfTheStep(FaultyModel):
    """Gradient inference takes half of the step that it is asked for: a half too many in 𝓕_z."""

    part = Part.INFERENCE_PATH
    needs: ClassVar[frozenset[str]] = frozenset({Capability.GRADIENT_INFERENCE})

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Halve it."""
        if isinstance(settings, GradientInference):
            settings = settings.model_copy(update={"step": settings.step / 2})
        return super().infer(x, y, settings, precision)


class InventedPath(FaultyModel):
    """The energies that are recorded on the way are those of the end, over and over."""

    part = Part.INFERENCE_PATH
    needs: ClassVar[frozenset[str]] = frozenset({Trait.RECORDED})

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Repeat the last ones."""
        reached = super().infer(x, y, settings, precision)
        if reached.path is None:
            return reached
        return replace(reached, path=self.changed(reached.path, lambda path: 0 * path + path[-1:]))


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
