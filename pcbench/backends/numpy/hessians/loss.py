"""The Hessian of the loss: backpropagation, differentiated along a vector."""

from __future__ import annotations

import numpy as np

from pcbench.backends.numpy.hessians.products import ProductByProduct
from pcbench.backends.numpy.hessians.tangent import LayerTangent, directions
from pcbench.backends.numpy.maps import Entries
from pcbench.backends.numpy.network import in_order
from pcbench.backends.numpy.state import Clamped


class LossHessian(ProductByProduct):
    """``∇²𝓛``, with ``N𝓛 = ½ Σ_n e_Lᵀ Π e_L`` at the feedforward activities."""

    def __init__(self, clamped: Clamped) -> None:
        super().__init__(clamped.layers)
        self._clamped, self._at = clamped, clamped.feedforward()
        self._forces = [self._at.forces[-1]]  # on the output, then on what is below
        for layer in self._at.evaluated[:0:-1]:
            self._forces.append(layer.pull(self._forces[-1]))
        self._forces.reverse()

    def multiply(self, vector: list[Entries]) -> list[Entries]:
        """``∇²𝓛 v``."""
        at = self._at.evaluated
        moves, dz = [], np.zeros_like(self._clamped.x)
        for layer, along in zip(at, directions(at, vector), strict=True):
            moves.append(LayerTangent.of(layer, along, dz))
            dz = moves[-1].df
        dg, gradients = -self._clamped.precision * dz, []
        for move, force in zip(reversed(moves), reversed(self._forces), strict=True):
            dq, below = move.turn(force, dg)
            gradients.append(move.gradients(force, dq))
            dg = below
        samples = np.float64(len(dz))
        return [-part / samples for part in in_order(reversed(gradients))]
