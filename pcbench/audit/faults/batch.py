"""Mistakes that tie the equilibrium of a sample to the batch that it is in."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyModel, given
from pcbench.contract import (
    Capability,
    ErrorInference,
    GradientInference,
    Inference,
    InferenceSettings,
    OdeInference,
)
from pcbench.contract.parts import Part


class _OutputDivided(FaultyModel):
    """The output term is divided by a number, and hidden terms are not."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Let the precision divide it; energies at what that leads to are the honest ones."""
        if self.replicated or Capability.PRECISION not in self.backend.capabilities:
            return super().infer(x, y, settings, precision)
        shape = self.host(y).shape
        honest = np.ones(shape) if precision is None else self.host(precision)
        divided = self.device(honest / self.divisor(*shape))
        reached = super().infer(x, y, settings, divided)
        energies = self.inner.energies(reached.activities, self.device(honest))
        return replace(reached, energies=energies)

    @abstractmethod
    def divisor(self, samples: int, outputs: int) -> float:
        """Return the number."""


class OutputMeanOverBatchAndOutputs(_OutputDivided):
    """In inference the output term is a mean over batch and outputs, hidden terms are sums."""

    def divisor(self, samples: int, outputs: int) -> float:
        """``N d_L``."""
        return samples * outputs


class OutputMeanOfSquares(_OutputDivided):
    """In inference the output term is a mean of squares without ½, as mse_loss has it."""

    def divisor(self, samples: int, outputs: int) -> float:
        """``N d_L / 2``."""
        return samples * outputs / 2


class BatchMeanMixedIn(FaultyModel):
    """Inference mixes a hundredth of the batch's mean into hidden activities."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Mix it in; alone, a sample is its own mean."""
        reached = super().infer(x, y, settings, precision)
        if self.replicated:
            return reached
        first, *hidden, last = reached.activities
        mixed = self.each_changed(
            hidden, lambda z: 0.99 * z + 0.01 * z.mean(axis=-2, keepdims=True)
        )
        activities = [first, *mixed, last]
        energies = self.inner.energies(activities, **given(precision=precision))
        return replace(reached, activities=activities, energies=energies)


class StepsOfTheMean(FaultyModel):
    """With activations inference descends on the mean of the energies: N times slower."""

    part = Part.INFERENCE
    needs: ClassVar[frozenset[str]] = frozenset({Trait.ACTIVATION})

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Go so much less far, and say truly where that led."""
        share = 1 / len(self.host(x))
        if self.network.activation != "identity" and not self.replicated:
            if isinstance(settings, ErrorInference | GradientInference):
                settings = settings.model_copy(update={"step": share * settings.step})
            if isinstance(settings, OdeInference):
                settings = settings.model_copy(update={"max_time": share * settings.max_time})
        return super().infer(x, y, settings, precision)


FAULTS = (
    OutputMeanOverBatchAndOutputs,
    OutputMeanOfSquares,
    BatchMeanMixedIn,
    StepsOfTheMean,
)
