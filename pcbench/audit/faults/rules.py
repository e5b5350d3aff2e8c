"""Mistakes in which rule a network learns by: what training is told is not what it does."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyModel
from pcbench.contract import Trainer, TrainingSettings
from pcbench.contract.parts import Part


class _OtherSettings(FaultyModel):
    """Training by other settings than were asked for."""

    part = Part.TRAINING

    def trainer(
        self, x: Any, y: Any, settings: TrainingSettings, precision: Any = None
    ) -> Trainer[Any]:
        """Change them."""
        return super().trainer(x, y, self.taken(settings), precision)

    @abstractmethod
    def taken(self, settings: TrainingSettings) -> TrainingSettings:
        """Return the settings with the mistake."""


class PredictiveCodingIsBackpropagation(_OtherSettings):
    """What calls itself predictive coding is backpropagation: nothing is inferred."""

    needs: ClassVar[frozenset[str]] = frozenset({Trait.PREDICTIVE_CODING})

    def taken(self, settings: TrainingSettings) -> TrainingSettings:
        """Train on the loss."""
        return replace(settings, objective="loss")


class BackpropagationInfers(_OtherSettings):
    """What calls itself backpropagation infers first."""

    needs: ClassVar[frozenset[str]] = frozenset({Trait.BACKPROPAGATION})

    def taken(self, settings: TrainingSettings) -> TrainingSettings:
        """Train on the energy."""
        return replace(settings, objective="energy")


class LongerSteps(_OtherSettings):
    """Steps are a hundredth longer than asked for: a schedule that nobody ordered."""

    part = Part.OPTIMISERS

    def taken(self, settings: TrainingSettings) -> TrainingSettings:
        """Raise the learning rate."""
        return replace(settings, learning_rate=1.01 * settings.learning_rate)


class ScaleForgotten(_OtherSettings):
    """Gradients are not scaled as asked for."""

    needs: ClassVar[frozenset[str]] = frozenset({Trait.SCALED})

    def taken(self, settings: TrainingSettings) -> TrainingSettings:
        """Leave them as they are."""
        return replace(settings, scale=1.0)


class Ascent(_OtherSettings):
    """The update is added, not subtracted: training climbs."""

    part = Part.OPTIMISERS

    def taken(self, settings: TrainingSettings) -> TrainingSettings:
        """Turn the gradient round."""
        return replace(settings, scale=-settings.scale)


FAULTS = (
    PredictiveCodingIsBackpropagation,
    BackpropagationInfers,
    LongerSteps,
    ScaleForgotten,
    Ascent,
)
