"""Mistakes with precisions that are small, large, in Hessians, or 0 in a whole sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.faults.masks import _Masked, _MaskedInference, _MaskedLoss
from pcbench.audit.wrappers import FaultyModel, Host, given
from pcbench.backends import Capability, Hessian, Trainer, TrainingSettings
from pcbench.parts import Part

_SMALL = 0.02


class PrecisionAtMostOne(_MaskedLoss):
    """The loss and its gradients take a precision above 1 for 1."""

    def weights_of(self, precision: Host) -> Any:
        """Clip it."""
        return precision.clip(max=1)


class InferencePrecisionAtMostOne(_MaskedInference):
    """Inference takes a precision above 1 for 1, and is stable at any step."""

    def weights_of(self, precision: Host) -> Any:
        """Clip it."""
        return precision.clip(max=1)


class SmallPrecisionIsNone(_MaskedLoss):
    """The loss and its gradients take a precision below 0.02 for 0."""

    def weights_of(self, precision: Host) -> Any:
        """Drop it."""
        return np.where(precision < _SMALL, 0.0, precision)


class TrainingPrecisionAtMostOne(_Masked):
    """Training takes a precision above 1 for 1."""

    def trainer(
        self, x: Any, y: Any, settings: TrainingSettings, precision: Any = None
    ) -> Trainer[Any]:
        """Change what it is given."""
        y, precision = self._taken(y, precision)
        return self.inner.trainer(x, y, settings, **given(precision=precision))

    def weights_of(self, precision: Host) -> Any:
        """Clip it."""
        return precision.clip(max=1)


class LossOverObservedSamples(FaultyModel):
    """The loss is a mean over the samples that have an observed output, and not over all."""

    part = Part.PRECISION
    needs: ClassVar[frozenset[str]] = frozenset({Capability.PRECISION})

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Divide by their share."""
        honest = super().loss(x, y, precision)
        if precision is None:
            return honest
        share = float((self.host(precision) > 0).any(axis=-1).mean())
        return self.changed(honest, lambda loss: loss / share)


class HessianPrecisionAtMostOne(_Masked):
    """Hessians of the loss take a precision above 1 for 1."""

    def loss_hessian(self, x: Any, y: Any, precision: Any = None) -> Hessian[Any]:
        """Change what it is given."""
        return super().loss_hessian(x, *self._taken(y, precision))

    def weights_of(self, precision: Host) -> Any:
        """Clip it."""
        return precision.clip(max=1)


class EnergyHessianSeesUnobserved(_Masked):
    """Hessians of the energy weigh all outputs alike, observed or not."""

    def energy_hessian(
        self, activities: Sequence[Any], precision: Any = None, residual: float | None = None
    ) -> Hessian[Any]:
        """Change what it is given."""
        *below, last = activities
        last, precision = self._taken(last, precision)
        return super().energy_hessian([*below, last], precision, residual)

    def weights_of(self, precision: Host) -> Any:
        """Weigh all alike."""
        return np.ones_like(precision)

    def targets_of(self, targets: Host) -> Any:
        """Fill in zeros."""
        return np.nan_to_num(targets)


FAULTS = (
    PrecisionAtMostOne,
    InferencePrecisionAtMostOne,
    SmallPrecisionIsNone,
    TrainingPrecisionAtMostOne,
    LossOverObservedSamples,
    HessianPrecisionAtMostOne,
    EnergyHessianSeesUnobserved,
)
