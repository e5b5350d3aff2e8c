"""Models that take another precision than they are given, or other targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.wrappers import FaultyModel, Host
from pcbench.contract import Capability, Inference, InferenceSettings, Trainer, TrainingSettings
from pcbench.contract.parts import Part


class Masked(FaultyModel):
    """A model that takes another precision than it is given, and other targets."""

    part = Part.PRECISION
    needs: ClassVar[frozenset[str]] = frozenset({Capability.PRECISION})

    def weights_of(self, precision: Host) -> Any:
        """Return the precision that is taken."""
        return precision

    def targets_of(self, targets: Host) -> Any:
        """Return the targets that are taken."""
        return targets

    def taken(self, y: Any, precision: Any) -> tuple[Any, Any]:
        """Return targets and precision as they are taken."""
        if precision is None:
            return y, None
        return self.changed(y, self.targets_of), self.changed(precision, self.weights_of)


class MaskedInference(Masked):
    """Inference alone takes another precision."""

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Change what it is given."""
        y, precision = self.taken(y, precision)
        return super().infer(x, y, settings, precision)


class MaskedLoss(Masked):
    """The loss and its gradients alone take another precision."""

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Change what it is given."""
        return super().loss(x, *self.taken(y, precision))

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Change what it is given."""
        return super().loss_gradients(x, *self.taken(y, precision))


class MaskedTraining(Masked):
    """Training alone takes another precision."""

    def trainer(
        self, x: Any, y: Any, settings: TrainingSettings, precision: Any = None
    ) -> Trainer[Any]:
        """Change what it is given."""
        y, precision = self.taken(y, precision)
        return super().trainer(x, y, settings, precision)


class AllObserved(Masked):
    """All outputs weigh alike, observed or not; a target that is none is zero."""

    def weights_of(self, precision: Host) -> Any:
        """Weigh all alike."""
        return np.ones_like(precision)

    def targets_of(self, targets: Host) -> Any:
        """Fill in zeros."""
        return np.nan_to_num(targets)


class AtMostOne(Masked):
    """A precision above 1 is taken for 1."""

    def weights_of(self, precision: Host) -> Any:
        """Clip it."""
        return precision.clip(max=1)
