"""Mistakes with the precision of outputs: weights, and what is not observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.wrappers import FaultyModel, Host, given
from pcbench.backends import Capability, Inference, InferenceSettings, Trainer, TrainingSettings
from pcbench.parts import Part


class _Masked(FaultyModel):
    """A model that takes another precision than it is given, and other targets."""

    part = Part.PRECISION
    needs: ClassVar[frozenset[str]] = frozenset({Capability.PRECISION})

    def weights_of(self, precision: Host) -> Any:
        """Return the precision that is taken."""
        return precision

    def targets_of(self, targets: Host) -> Any:
        """Return the targets that are taken."""
        return targets

    def _taken(self, y: Any, precision: Any) -> tuple[Any, Any]:
        if precision is None:
            return y, None
        return self.changed(y, self.targets_of), self.changed(precision, self.weights_of)


class _MaskedInference(_Masked):
    """Inference alone takes another precision."""

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Change what it is given."""
        y, precision = self._taken(y, precision)
        return super().infer(x, y, settings, precision)


class _MaskedLoss(_Masked):
    """The loss and its gradients alone take another precision."""

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Change what it is given."""
        return super().loss(x, *self._taken(y, precision))

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Change what it is given."""
        return super().loss_gradients(x, *self._taken(y, precision))


def _filled(targets: Host) -> Host:
    return np.asarray(np.nan_to_num(targets))


class UnobservedAreZeros(_MaskedInference):
    """Inference takes outputs that are not observed for observed ones with a target of zero."""

    def weights_of(self, precision: Host) -> Any:
        """Weigh all alike."""
        return np.ones_like(precision)

    def targets_of(self, targets: Host) -> Any:
        """Fill in zeros."""
        return _filled(targets)


class UnobservedCountALittle(_MaskedInference):
    """Inference gives outputs that are not observed a precision of 0.01, against divisions by 0."""

    def weights_of(self, precision: Host) -> Any:
        """Cut it off from below."""
        return precision.clip(min=0.01)

    def targets_of(self, targets: Host) -> Any:
        """Fill in zeros."""
        return _filled(targets)


class PrecisionIsADeviation(_MaskedInference):
    """The precision is squared: it is taken for the weight of an error, not of its square."""

    def weights_of(self, precision: Host) -> Any:
        """Square it."""
        return precision**2


class LossOfUnobserved(_MaskedLoss):
    """The loss counts outputs that are not observed, with a target of zero."""

    def weights_of(self, precision: Host) -> Any:
        """Weigh all alike."""
        return np.ones_like(precision)

    def targets_of(self, targets: Host) -> Any:
        """Fill in zeros."""
        return _filled(targets)


class LossOverObserved(_Masked):
    """The loss is a mean over the observed outputs, where one over samples is due."""

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Divide by the fraction that is observed."""
        honest = super().loss(x, y, precision)
        if precision is None:
            return honest
        observed = float(self.host(precision).mean())
        return self.changed(honest, lambda loss: loss / observed)


class UnobservedPullAtWeights(_Masked):
    """Local gradients of the last layer see outputs that are not observed, with a target of 0."""

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Weigh all alike."""
        *below, last = activities
        last, precision = self._taken(last, precision)
        return super().energy_gradients([*below, last], precision)

    def weights_of(self, precision: Host) -> Any:
        """Weigh all alike."""
        return np.ones_like(precision)

    def targets_of(self, targets: Host) -> Any:
        """Fill in zeros."""
        return _filled(targets)


class TrainingSeesUnobserved(_Masked):
    """Training sees outputs that are not observed, with a target of zero."""

    def trainer(
        self, x: Any, y: Any, settings: TrainingSettings, precision: Any = None
    ) -> Trainer[Any]:
        """Change what it is given."""
        y, precision = self._taken(y, precision)
        return self.inner.trainer(x, y, settings, **given(precision=precision))

    def weights_of(self, precision: Host) -> Any:
        """Weigh all alike."""
        return np.ones_like(precision)

    def targets_of(self, targets: Host) -> Any:
        """Fill in zeros."""
        return _filled(targets)


class ReplicasSeeUnobserved(_MaskedLoss):
    """With replicas, the loss and its gradients count what is not observed, with a target of 0."""

    needs: ClassVar[frozenset[str]] = frozenset({Capability.PRECISION, Capability.REPLICAS})

    def weights_of(self, precision: Host) -> Any:
        """Weigh all alike."""
        return np.ones_like(precision) if self.replicated else precision

    def targets_of(self, targets: Host) -> Any:
        """Fill in zeros."""
        return _filled(targets) if self.replicated else targets


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
