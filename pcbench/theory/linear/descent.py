r"""Gradient inference in a deep linear network, step by step, in closed form (§2.3).

In the eigenbasis of ``H_z`` every coordinate of the distance to equilibrium shrinks on its own,
by ``1 - Δt λ_i`` a step. From the feedforward activities, ``n`` steps leave

.. math::
    z^{(n)} - z^* = \sum_i (1 - Δt λ_i)^n \, q_i q_i^T (z^{(0)} - z^*),

and the energy is ``𝓕*`` plus half the quadratic form of that in ``H_z``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Inputs, Targets, Weights
from pcbench.theory.linear.activities import (
    activities_from_errors,
    activity_hessian,
    equilibrium_errors,
)
from pcbench.theory.linear.equilibrium import equilibrated_energy


@dataclass(frozen=True, slots=True)
class Descent:
    """Gradient inference from the feedforward activities, of one network and batch.

    Attributes
    ----------
    curvatures
        ``λ_i(H_z)``, ascending.
    start
        ``z⁽⁰⁾ - z*`` of every sample in the eigenbasis.
    equilibrium
        ``𝓕*``.
    """

    curvatures: Float[np.ndarray, " n_hidden"]
    start: Float[np.ndarray, "N n_hidden"]
    equilibrium: float

    @classmethod
    def of(cls, weights: Weights, x: Inputs, y: Targets) -> Descent:
        """Diagonalise ``H_z``; needs at least one hidden layer."""
        curvatures, basis = np.linalg.eigh(activity_hessian(weights))
        errors = equilibrium_errors(weights, x, y)
        at_rest = activities_from_errors(weights, x, errors)[1:-1]
        forward = activities_from_errors(weights, x, [np.zeros_like(e) for e in errors])[1:-1]
        start = np.concatenate(forward, axis=1) - np.concatenate(at_rest, axis=1)
        return cls(curvatures, start @ basis, equilibrated_energy(weights, x, y))

    @property
    def condition(self) -> float:
        """``κ(H_z)``."""
        return float(self.curvatures[-1] / self.curvatures[0])

    @property
    def best_step(self) -> float:
        """``2/(λ_min + λ_max)``, which contracts by ``(κ - 1)/(κ + 1)``."""
        return float(2 / (self.curvatures[0] + self.curvatures[-1]))

    @property
    def largest_step(self) -> float:
        """``2/λ_max``: beyond it, inference diverges."""
        return float(2 / self.curvatures[-1])

    def rate(self, step: float) -> float:
        """``ρ = max_i |1 - Δt λ_i|``."""
        return float(np.max(np.abs(1 - step * self.curvatures)))

    def distance(self, step: float, steps: int) -> float:
        """``‖z⁽ⁿ⁾ - z*‖`` over all samples."""
        return float(np.linalg.norm(self._left(step, steps)))

    def residual(self, step: float, steps: int) -> float:
        """``‖∂(N𝓕)/∂z‖ = ‖H_z (z⁽ⁿ⁾ - z*)‖`` over all samples."""
        return float(np.linalg.norm(self.curvatures * self._left(step, steps)))

    def energy(self, step: float, steps: int) -> float:
        """``𝓕`` after ``n`` steps."""
        excess = np.sum(self.curvatures * self._left(step, steps) ** 2) / (2 * len(self.start))
        return self.equilibrium + float(excess)

    def _left(self, step: float, steps: int) -> Float[np.ndarray, "N n_hidden"]:
        left: Float[np.ndarray, "N n_hidden"] = self.start * (1 - step * self.curvatures) ** steps
        return left
