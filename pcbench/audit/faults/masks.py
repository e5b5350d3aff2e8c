"""Mistakes with the precision of outputs: weights, and what is not observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.faults._masked import (
    AllObserved,
    Masked,
    MaskedInference,
    MaskedLoss,
    MaskedTraining,
)
from pcbench.audit.wrappers import Host
from pcbench.contract import Capability


class UnobservedAreZeros(AllObserved, MaskedInference):
    """Inference takes outputs that are not observed for observed ones with a target of zero."""


class UnobservedCountALittle(MaskedInference):
    """Inference gives outputs that are not observed a precision of 0.01, against divisions by 0."""

    def weights_of(self, precision: Host) -> Any:
        """Cut it off from below."""
        return precision.clip(min=0.01)

    def targets_of(self, targets: Host) -> Any:
        """Fill in zeros."""
        return np.nan_to_num(targets)


class PrecisionIsADeviation(MaskedInference):
    """The precision is squared: it is taken for the weight of an error, not of its square."""

    def weights_of(self, precision: Host) -> Any:
        """Square it."""
        return precision**2


class LossOfUnobserved(AllObserved, MaskedLoss):
    """The loss counts outputs that are not observed, with a target of zero."""


class LossOverObserved(Masked):
    """The loss is a mean over the observed outputs, where one over samples is due."""

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Divide by the fraction that is observed."""
        honest = super().loss(x, y, precision)
        if precision is None:
            return honest
        observed = float(self.host(precision).mean())
        return self.changed(honest, lambda loss: loss / observed)


class UnobservedPullAtWeights(AllObserved):
    """Local gradients of the last layer see outputs that are not observed, with a target of 0."""

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Weigh all alike."""
        *below, last = activities
        last, precision = self.taken(last, precision)
        return super().energy_gradients([*below, last], precision)


class TrainingSeesUnobserved(AllObserved, MaskedTraining):
    """Training sees outputs that are not observed, with a target of zero."""


class ReplicasSeeUnobserved(MaskedLoss):
    """With replicas, the loss and its gradients count what is not observed, with a target of 0."""

    needs: ClassVar[frozenset[str]] = frozenset({Capability.PRECISION, Capability.REPLICAS})

    def weights_of(self, precision: Host) -> Any:
        """Weigh all alike."""
        return np.ones_like(precision) if self.replicated else precision

    def targets_of(self, targets: Host) -> Any:
        """Fill in zeros."""
        return np.nan_to_num(targets) if self.replicated else targets


FAULTS = (
    UnobservedAreZeros,
    UnobservedCountALittle,
    PrecisionIsADeviation,
    LossOfUnobserved,
    LossOverObserved,
    UnobservedPullAtWeights,
    TrainingSeesUnobserved,
    ReplicasSeeUnobserved,
)
