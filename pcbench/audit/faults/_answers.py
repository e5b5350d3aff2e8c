"""Models that ask for other inference than they are asked for, or tell another story of it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyModel, Host
from pcbench.contract import Inference, InferenceSettings, IterativeInference
from pcbench.contract.parts import Part


class Misread(FaultyModel):
    """Settings of one sort of engine are changed on their way."""

    part = Part.INFERENCE_SETTINGS
    engine: ClassVar[type[IterativeInference]]

    @abstractmethod
    def misread(self, settings: Any) -> dict[str, Any]:
        """Return what is changed."""

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Ask for something else."""
        if isinstance(settings, self.engine):
            settings = settings.model_copy(update=self.misread(settings))
        return super().infer(x, y, settings, precision)


class Misreported(FaultyModel):
    """An answer is changed on its way back."""

    part = Part.INFERENCE_ACCOUNT

    @abstractmethod
    def told(self, reached: Inference[Any], x: Any) -> Inference[Any]:
        """Return what is told of an answer for the inputs ``x``."""

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Tell something else."""
        return self.told(super().infer(x, y, settings, precision), x)


class Misrecorded(Misreported):
    """A record is changed on its way back."""

    part = Part.INFERENCE_RECORDS
    needs: ClassVar[frozenset[str]] = frozenset({Trait.RECORDED})

    @abstractmethod
    def rewritten(self, path: Host) -> Host:
        """Return what is recorded instead, ``(*R, T + 1, L)``."""

    def told(self, reached: Inference[Any], x: Any) -> Inference[Any]:
        """Write it down."""
        if reached.path is None:
            return reached
        return replace(reached, path=self.changed(reached.path, self.rewritten))
