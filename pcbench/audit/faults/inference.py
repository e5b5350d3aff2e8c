"""Mistakes in inference that show where it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pcbench.audit.faults._feedforward import feedforward
from pcbench.audit.wrappers import FaultyModel
from pcbench.contract import (
    Capability,
    GradientInference,
    Inference,
    InferenceSettings,
    IterativeInference,
)
from pcbench.contract.parts import Part


class FiveSteps(FaultyModel):
    """Inference is five gradient steps whatever is asked for, and says that it is done."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Stop early."""
        if Capability.GRADIENT_INFERENCE not in self.backend.capabilities:
            return super().infer(x, y, settings, precision)
        wanted = settings.residual if isinstance(settings, IterativeInference) else 0.0
        few = GradientInference(step=0.1, max_steps=5, residual=1e-12)
        reached = super().infer(x, y, few, precision)
        return replace(
            reached,
            converged=True,
            residual=self.changed(reached.residual, lambda host: 0 * host + wanted),
        )


class NoInference(FaultyModel):
    """Hidden activities stay those of the forward pass: backpropagation's, not an equilibrium's."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Put them in place of those inferred."""
        reached = super().infer(x, y, settings, precision)
        if self.replicated or precision is not None:
            return reached
        activities = [*feedforward(self, x)[:-1], reached.activities[-1]]
        return replace(reached, activities=activities, energies=self.inner.energies(activities))


class WrongSign(FaultyModel):
    """The output error is prediction minus target: hidden activities move away from the target."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Infer towards the target's mirror image."""
        if self.replicated or precision is not None:
            return super().infer(x, y, settings, precision)
        mirrored = 2 * self.host(self.inner.predict(x)) - self.host(y)
        reached = super().infer(x, self.device(mirrored), settings)
        return replace(reached, activities=[*reached.activities[:-1], y])


class OutputRelaxes(FaultyModel):
    """The output is not clamped: it ends half the way to the prediction."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Move the output that is returned."""
        reached = super().infer(x, y, settings, precision)
        *below, last = reached.activities
        halfway = (self.host(last) + self.host(self.inner.predict(x))) / 2
        return replace(reached, activities=[*below, self.device(halfway)])


class InputRelaxes(FaultyModel):
    """The input is not clamped: it is returned as one of the activities that moved."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Move the input that is returned."""
        reached = super().infer(x, y, settings, precision)
        first, *above = reached.activities
        return replace(reached, activities=[self.changed(first, lambda z: 0.9 * z), *above])


class StandardisedInput(FaultyModel):
    """Inputs are standardised on the way into inference, and nowhere else."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Scale every input by its mean and deviation over the batch."""
        host = self.host(x)
        mean, deviation = host.mean(axis=-2, keepdims=True), host.std(axis=-2, keepdims=True)
        return super().infer(
            self.device((host - mean) / (deviation + 1e-6)), y, settings, precision
        )


class HiddenLayersSwapped(FaultyModel):
    """Hidden activities are listed from the output down."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Turn their list round."""
        reached = super().infer(x, y, settings, precision)
        first, *hidden, last = reached.activities
        return replace(reached, activities=[first, *reversed(hidden), last])


class LastSampleForgotten(FaultyModel):
    """The loop over samples ends one too early: the last one's activities stay as they were."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Leave the last sample at its forward pass."""
        reached = super().infer(x, y, settings, precision)
        if self.replicated or precision is not None:
            return reached
        first, *hidden, last = reached.activities
        stale = feedforward(self, x)[1:-1]
        mixed = [
            self.device(np.concatenate([self.host(z)[:-1], self.host(z_0)[-1:]]))
            for z, z_0 in zip(hidden, stale, strict=True)
        ]
        activities = [first, *mixed, last]
        return replace(reached, activities=activities, energies=self.inner.energies(activities))


class Overrelaxed(FaultyModel):
    """Hidden activities are returned three times as large, as after a gain left in."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Scale them."""
        reached = super().infer(x, y, settings, precision)
        first, *hidden, last = reached.activities
        return replace(
            reached, activities=[first, *self.each_changed(hidden, lambda z: 3 * z), last]
        )


class OneSampleAColumn(FaultyModel):
    """Activities are returned one sample a column."""

    part = Part.INFERENCE

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Transpose them."""
        reached = super().infer(x, y, settings, precision)
        turned = self.each_changed(reached.activities, lambda z: np.swapaxes(z, -1, -2))
        return replace(reached, activities=turned)


FAULTS = (
    FiveSteps,
    NoInference,
    WrongSign,
    OutputRelaxes,
    InputRelaxes,
    StandardisedInput,
    HiddenLayersSwapped,
    LastSampleForgotten,
    Overrelaxed,
    OneSampleAColumn,
)
