"""Mistakes with precisions that are small, large, in Hessians, or 0 in a whole sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.faults._masked import (
    AllObserved,
    AtMostOne,
    MaskedInference,
    MaskedLoss,
    MaskedTraining,
)
from pcbench.audit.wrappers import FaultyModel, Host
from pcbench.contract import Capability, Hessian
from pcbench.contract.parts import Part

_SMALL = 0.02


class PrecisionAtMostOne(AtMostOne, MaskedLoss):
    """The loss and its gradients take a precision above 1 for 1."""


class InferencePrecisionAtMostOne(AtMostOne, MaskedInference):
    """Inference takes a precision above 1 for 1, and is stable at any step."""


class SmallPrecisionIsNone(MaskedLoss):
    """The loss and its gradients take a precision below 0.02 for 0."""

    def weights_of(self, precision: Host) -> Any:
        """Drop it."""
        return np.where(precision < _SMALL, 0.0, precision)


class TrainingPrecisionAtMostOne(AtMostOne, MaskedTraining):
    """Training takes a precision above 1 for 1."""


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


class HessianPrecisionAtMostOne(AtMostOne):
    """Hessians of the loss take a precision above 1 for 1."""

    def loss_hessian(self, x: Any, y: Any, precision: Any = None) -> Hessian[Any]:
        """Change what it is given."""
        return super().loss_hessian(x, *self.taken(y, precision))


class EnergyHessianSeesUnobserved(AllObserved):
    """Hessians of the energy weigh all outputs alike, observed or not."""

    def energy_hessian(
        self, activities: Sequence[Any], precision: Any = None, residual: float | None = None
    ) -> Hessian[Any]:
        """Change what it is given."""
        *below, last = activities
        last, precision = self.taken(last, precision)
        return super().energy_hessian([*below, last], precision, residual)


FAULTS = (
    PrecisionAtMostOne,
    InferencePrecisionAtMostOne,
    SmallPrecisionIsNone,
    TrainingPrecisionAtMostOne,
    LossOverObservedSamples,
    HessianPrecisionAtMostOne,
    EnergyHessianSeesUnobserved,
)
