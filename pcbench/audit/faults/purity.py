"""Mistakes that an answer leaves behind, or takes from answers before it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyModel
from pcbench.contract import Capability, Inference, InferenceSettings, Trainer, TrainingSettings
from pcbench.contract.parts import Part


def _in_place(array: Any, factor: float) -> None:
    """Scale an array where it lies; where arrays cannot be changed, nothing happens."""
    array *= factor


class InputScaledInPlace(FaultyModel):
    """The forward pass works in place: the caller's input is not what it was."""

    part = Part.PURITY

    def predict(self, x: Any) -> Any:
        """Answer, and leave a mark."""
        found = super().predict(x)
        _in_place(x, 1.01)
        return found


class InferenceInPlace(FaultyModel):
    """Inference works in place: the caller's target is not what it was."""

    part = Part.PURITY

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Answer, and leave a mark."""
        found = super().infer(x, y, settings, precision)
        _in_place(y, 1.01)
        return found


class ActivitiesInPlace(FaultyModel):
    """Local gradients scale the activities that they are given."""

    part = Part.PURITY

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Answer, and leave a mark."""
        found = super().energy_gradients(activities, precision)
        _in_place(activities[0], 1.01)
        return found


class PrecisionInPlace(FaultyModel):
    """Local gradients scale the precision that they are given."""

    part = Part.PURITY
    needs: ClassVar[frozenset[str]] = frozenset({Capability.PRECISION})

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Answer, and leave a mark."""
        found = super().energy_gradients(activities, precision)
        if precision is not None:
            _in_place(precision, 0.5)
        return found


class DataInPlace(FaultyModel):
    """A trainer standardises the caller's targets where they lie, once it has its own."""

    part = Part.PURITY

    def trainer(
        self, x: Any, y: Any, settings: TrainingSettings, precision: Any = None
    ) -> Trainer[Any]:
        """Begin with a copy, and leave a mark on the original."""
        begun = super().trainer(x, self.changed(y, np.copy), settings, precision)
        _in_place(y, 0.5)
        return begun


class TrainingFromTheClock(FaultyModel):
    """Training adds noise that is seeded by the clock, of the size of rounding."""

    part = Part.PURITY

    def trainer(
        self, x: Any, y: Any, settings: TrainingSettings, precision: Any = None
    ) -> Trainer[Any]:
        """Train on inputs with noise."""
        rng = np.random.default_rng(time.time_ns())
        noisy = self.changed(x, lambda z: z * (1 + 1e-15 * rng.standard_normal(z.shape)))
        return super().trainer(noisy, y, settings, precision)


class LargestBatchRemembered(FaultyModel):
    """Gradients are divided by the size of the largest batch there was, not by this one's."""

    part = Part.PURITY
    needs: ClassVar[frozenset[str]] = frozenset({Trait.OTHER_BATCH})

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Divide by it."""
        scale = self._scale(y)
        return self.each_changed(super().loss_gradients(x, y, precision), lambda g: scale * g)

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Divide by it."""
        scale = self._scale(activities[0])
        return self.each_changed(
            super().energy_gradients(activities, precision), lambda g: scale * g
        )

    def _scale(self, batch: Any) -> float:
        samples: int = self.host(batch).shape[-2]
        self.memory["largest"] = max(self.memory.get("largest", 1), samples)
        return samples / float(self.memory["largest"])


class GradientsAccumulated(FaultyModel):
    """Gradients of the loss are added to those of the call before: nobody set them to zero."""

    part = Part.PURITY
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ASKED_AGAIN})

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Add them up."""
        found = [self.host(gradient) for gradient in super().loss_gradients(x, y, precision)]
        before = getattr(self, "_before", None) or [0 * gradient for gradient in found]
        self._before = [old + new for old, new in zip(before, found, strict=True)]
        return [self.device(gradient) for gradient in self._before]


class DropoutLeftOn(FaultyModel):
    """Dropout was left on: every prediction lacks some of its outputs, each time others."""

    part = Part.PURITY

    def predict(self, x: Any) -> Any:
        """Draw anew, from a generator that goes on from call to call."""
        rng = self.memory.setdefault("rng", np.random.default_rng(0))
        return self.changed(super().predict(x), lambda z: z * (rng.random(z.shape) < 0.9) / 0.9)


FAULTS = (
    InputScaledInPlace,
    InferenceInPlace,
    ActivitiesInPlace,
    PrecisionInPlace,
    DataInPlace,
    TrainingFromTheClock,
    LargestBatchRemembered,
    GradientsAccumulated,
    DropoutLeftOn,
)
