"""Mistakes in the closed form of the equilibrium of linear networks (theory.md 2.1).

``e_L = S⁻¹(y - ŷ)`` and ``e_l = W_{l+1}ᵀ e_{l+1}``, with ``S = I + Σ_{l=2}^{L} W_{L:l} W_{L:l}ᵀ``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyModel, Host
from pcbench.contract import Capability, ExactInference, Inference, InferenceSettings
from pcbench.contract.parts import Part


class _ClosedForm(FaultyModel):
    """Exact inference by the closed form, of which each part may be replaced."""

    part = Part.INFERENCE
    needs: ClassVar[frozenset[str]] = frozenset({Trait.LINEAR, Capability.EXACT_INFERENCE})
    first: ClassVar[int] = 2
    """Where the sum in ``S`` starts."""
    identity: ClassVar[float] = 1.0
    """What stands in ``S`` for the identity's ones."""
    transposed: ClassVar[bool] = False
    """Whether errors are pulled back by ``W``, where it is square."""

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Solve for the output errors, pull them back, and roll the activities out."""
        honest = super().infer(x, y, settings, precision)
        exact = isinstance(settings, ExactInference)
        if not exact or self.replicated or precision is not None or not self.network.is_linear:
            return honest
        off = self.host(y) - reduce(lambda z, weight: z @ weight.T, self.weights, self.host(x))
        errors = self._errors(off, self.first, self.identity, self.transposed)
        correct = self._errors(off, 2, 1.0, False)
        if all(map(np.array_equal, errors, correct)):  # no difference here, but for rounding
            return honest
        activities = [self.host(x)]
        for weight, error in zip(self.weights, errors, strict=True):
            activities.append(activities[-1] @ weight.T + error)
        staged = [x, *map(self.device, activities[1:-1]), honest.activities[-1]]
        return replace(honest, activities=staged, energies=self.inner.energies([*staged[:-1], y]))

    def _errors(self, off: Host, first: int, identity: float, transposed: bool) -> list[Host]:
        """Return ``e_1 … e_L`` of the output residuals."""
        covariance = identity * np.eye(self.network.widths[-1])
        for start in range(first, len(self.weights) + 1):
            product = reduce(lambda product, weight: weight @ product, self.weights[start - 1 :])
            covariance = covariance + product @ product.T
        errors = [np.linalg.solve(covariance, off.T).T]
        for weight in reversed(self.weights[1:]):
            square = weight.shape[0] == weight.shape[1]
            pulling = weight.T if transposed and square else weight
            errors.insert(0, errors[0] @ pulling)
        return errors


class NoIdentity(_ClosedForm):
    """The identity is missing from S."""

    identity = 1e-6


class SumFromOne(_ClosedForm):
    """The sum in S starts at layer 1, off by one."""

    first = 1


class SumFromThree(_ClosedForm):
    """The sum in S starts at layer 3, off by one."""

    first = 3


class TransposedJacobian(_ClosedForm):
    """Errors are pulled back by W instead of its transpose, where the shapes let it pass."""

    transposed = True


FAULTS = (NoIdentity, SumFromOne, SumFromThree, TransposedJacobian)
