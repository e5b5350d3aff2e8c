r"""The Hessian of the equilibrated energy of a linear network, in closed form.

It comes from the definition of the energy, by differentiating its gradient along ``V``: the
implicit-function formula (theory.md 3.1)

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
from pcbench.backends.torch.hessians.blocks import BlockedHessian
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
        self._z = [_many(activity) for activity in activities]
        self._w = [_many(weight) for weight in weights]
        self._e = [
            above - below @ weight.mT
            for weight, (below, above) in zip(self._w, pairwise(self._z), strict=True)
        ]
        self._to_output = [_many(product) for product in system.to_output()]
        self._system = replace(system, factor=_many(system.factor))

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


def _many(tensor: Float[Tensor, "*#R _a _b"]) -> Float[Tensor, "*broadcast _a _b"]:
    """Make room for the axis of directions behind the replicas; a matrix broadcasts as it is."""
    return tensor.unsqueeze(-3) if tensor.dim() > 2 else tensor
