r"""The Hessians of a linear network, in closed form.

Both come from the definition of the objective, by differentiating its gradient along ``V``. For the
energy that is the implicit-function formula (theory.md 3.1)

.. math::
    ∇^2 𝓕^* V = 𝓕_{θθ} V - 𝓕_{θz} \, 𝓕_{zz}^{-1} 𝓕_{zθ} V \quad \text{at equilibrium},

with the inner system solved exactly: it is itself an inference problem, in ``δz``. Theorem 1's
formula for the energy is nowhere used, or the theorem would be checking itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.engines.exact import OutputSystem
from pcbench.backends.torch.hessians.blocks import BlockedHessian, many
from pcbench.backends.torch.layer import Layer

Directions = list[Float[Tensor, "*#R K _out _inp"]]


class LinearEnergyHessian(BlockedHessian):
    """``∇²𝓕*`` at the equilibrium activities ``z_0 … z_L``.

    Along ``V`` the equilibrium moves so that ``δe_l = δz_l - W_l δz_{l-1} - V_l z_{l-1}`` stays
    stationary, ``δe_l = W_{l+1}ᵀ δe_{l+1} + V_{l+1}ᵀ e_{l+1}``, with ``δz_0 = δz_L = 0``; then
    ``(∇²𝓕* V)_l = -(1/N) (δe_lᵀ z_{l-1} + e_lᵀ δz_{l-1})``.
    """

    residual = 0.0

    def __init__(
        self, layers: Sequence[Layer], activities: Sequence[Float[Tensor, "*#R N _d"]]
    ) -> None:
        super().__init__(layers, activities[0])
        weights = [layer.affine.weight for layer in layers]
        system = OutputSystem.of(weights)
        self._z = [many(activity) for activity in activities]
        self._w = [many(weight) for weight in weights]
        self._e = [
            above - below @ weight.mT
            for weight, (below, above) in zip(self._w, pairwise(self._z), strict=True)
        ]
        self._to_output = [many(product) for product in system.to_output()]
        self._system = replace(system, factor=many(system.factor))

    def multiply(self, directions: Directions) -> Directions:
        """Multiply a block of vectors."""
        z, w, e = self._z, self._w, self._e
        pushed = [_pushed(v, below) for below, v in zip(z, directions, strict=False)]
        # Errors as they would move if the output error did not: c_L = 0, then down the layers.
        moved = [torch.zeros_like(pushed[-1])]
        for weight, v, error in zip(w[:0:-1], directions[:0:-1], e[:0:-1], strict=True):
            moved.append(moved[-1] @ weight + error @ v)
        moved.reverse()
        # The output then misses its clamp by this much, ...
        missed = pushed[0] + moved[0]
        for weight, push, move in zip(w[1:], pushed[1:], moved[1:], strict=True):
            missed = missed @ weight.mT + push + move
        # ... which the output error makes good, as S e_L = r does in inference.
        output = -self._system.solve(missed)
        de = [
            move + output @ product for move, product in zip(moved, self._to_output, strict=False)
        ]
        de.append(moved[-1] + output)
        dz = [torch.zeros_like(z[0])]
        for weight, push, error in zip(w[:-1], pushed, de, strict=False):
            dz.append(dz[-1] @ weight.mT + push + error)
        return [
            -(_gradient(d_error, below) + error.mT @ d_below) / z[0].shape[-2]
            for d_error, below, error, d_below in zip(de, z, e, dz, strict=False)
        ]


class LinearLossHessian(BlockedHessian):
    """``∇²𝓛``.

    With ``h_l = W_l h_{l-1}`` and ``g_l = W_{l+1}ᵀ g_{l+1}`` from ``g_L = ŷ - y``, differentiate
    ``∂𝓛/∂W_l = (1/N) g_lᵀ h_{l-1}`` along ``V``.
    """

    residual = 0.0

    def __init__(
        self, layers: Sequence[Layer], x: Float[Tensor, "*#R N d_0"], y: Float[Tensor, "*#R N d_L"]
    ) -> None:
        super().__init__(layers, x)
        self._w = [many(layer.affine.weight) for layer in layers]
        h = [many(x)]
        for weight in self._w:
            h.append(h[-1] @ weight.mT)
        g = [h[-1] - many(y)]
        for weight in self._w[:0:-1]:
            g.append(g[-1] @ weight)
        self._h, self._g = h, g[::-1]

    def multiply(self, directions: Directions) -> Directions:
        """Multiply a block of vectors."""
        w, h, g = self._w, self._h, self._g
        dh = [torch.zeros_like(h[0])]
        for weight, v, below in zip(w, directions, h, strict=False):
            dh.append(dh[-1] @ weight.mT + _pushed(v, below))
        dg = [dh[-1]]
        for weight, v, above in zip(w[:0:-1], directions[:0:-1], g[:0:-1], strict=True):
            dg.append(dg[-1] @ weight + above @ v)
        dg.reverse()
        return [
            (_gradient(d_above, below) + above.mT @ d_below) / h[0].shape[-2]
            for d_above, below, above, d_below in zip(dg, h, g, dh, strict=False)
        ]


def _pushed(v: Float[Tensor, "*#R K _out _inp"], z: Tensor) -> Tensor:
    """``V z`` of every direction: one product of all rows, where there are no replicas."""
    if v.dim() > 3:
        return z @ v.mT
    count, out, inputs = v.shape
    rows = v.reshape(count * out, inputs) @ z.mT
    return rows.reshape(count, out, z.shape[0]).mT


def _gradient(e: Float[Tensor, "*#R K N _out"], z: Tensor) -> Tensor:
    """``eᵀ z`` of every direction, likewise."""
    if e.dim() > 3:
        return e.mT @ z
    count, samples, out = e.shape
    rows = e.mT.reshape(count * out, samples) @ z
    return rows.reshape(count, out, z.shape[1])
