r"""The Hessian of the equilibrated energy, by the implicit-function theorem (theory.md 3.1).

.. math::
    ∇^2 𝓕^* v = 𝓕_{θθ} v + 𝓕_{θz} \, δz, \qquad 𝓕_{zz} \, δz = - 𝓕_{zθ} v ,

with ``𝓕_zz`` of every sample written down and factorised.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pcbench.backends.numpy.curvature import each_sample, full_curvature
from pcbench.backends.numpy.hessians.products import ProductByProduct
from pcbench.backends.numpy.hessians.tangent import LayerTangent, directions
from pcbench.backends.numpy.maps import AffineMap, Batch, Entries
from pcbench.backends.numpy.network import in_order
from pcbench.backends.numpy.state import State, by_layer, side_by_side


class EnergyHessian(ProductByProduct):
    """``∇²𝓕*`` at the equilibrium that is given."""

    def __init__(self, equilibrium: State) -> None:
        super().__init__(equilibrium.clamped.layers)
        self._at, self._forces = equilibrium, equilibrium.forces
        self._hidden = equilibrium.hidden
        if self._hidden:
            self._solve = each_sample(equilibrium, lambda at, n: full_curvature(at, n).lu())

    def multiply(self, vector: list[Entries]) -> list[Entries]:
        """``∇²𝓕* v``."""
        maps = directions(self._at.evaluated, vector)
        still = [np.zeros_like(z) for z in self._hidden]
        slopes, gradients = self._derivative(maps, still)  # 𝓕_zθ v and 𝓕_θθ v
        if slopes:
            right = side_by_side(slopes, like=still[0])
            solved = by_layer(-self._solve(right), still)
            slopes, gradients = self._derivative(maps, solved)
            left = np.linalg.norm(side_by_side(slopes, like=still[0]), axis=1)
            asked = np.linalg.norm(right, axis=1)
            worst = float(np.max(left / np.where(asked > 0, asked, 1.0), initial=0.0))
            # What is no number is worse than any.
            self.residual = worst if not worst <= self.residual else self.residual
        samples = np.float64(len(self._at.clamped.x))
        return [part / samples for part in gradients]

    def _derivative(
        self, along: Sequence[AffineMap | None], dz: list[Batch]
    ) -> tuple[list[Batch], list[Entries]]:
        """Return how ``∂(N𝓕)/∂z`` and ``∂(N𝓕)/∂θ`` change along parameters and activities."""
        return derivative(self._at, self._forces, along, dz)


def derivative(
    state: State, forces: Sequence[Batch], along: Sequence[AffineMap | None], dz: Sequence[Batch]
) -> tuple[list[Batch], list[Entries]]:
    """Return how ``∂(N𝓕)/∂z`` and ``∂(N𝓕)/∂θ`` change along parameters and hidden activities.

    Parameters
    ----------
    state
        Where.
    forces
        Its forces.
    along
        Where the parameters of each layer go; ``None`` if they stay.
    dz
        Where the hidden activities go.
    """
    clamped = state.clamped
    inputs, outputs = [np.zeros_like(clamped.x), *dz], [*dz, np.zeros_like(clamped.y)]
    moves = [
        LayerTangent.of(layer, v, below)
        for layer, v, below in zip(state.evaluated, along, inputs, strict=True)
    ]
    dg = [above - move.df for above, move in zip(outputs, moves, strict=True)]
    dg[-1] = clamped.precision * dg[-1]
    turned = [move.turn(*pair) for move, *pair in zip(moves, forces, dg, strict=True)]
    gradients = in_order(
        move.gradients(force, dq)
        for move, force, (dq, _) in zip(moves, forces, turned, strict=True)
    )
    below = [dp for _, dp in turned[1:]]
    slopes = [change - dp for change, dp in zip(dg, below, strict=False)]
    return slopes, [-part for part in gradients]
