"""The Hessian of the loss of any network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pcbench.backends.torch.hessians.blocks import BlockedHessian
from pcbench.backends.torch.hessians.curved import curved, in_order, maps_along
from pcbench.backends.torch.layer import Layer


class LossHessian(BlockedHessian):
    """``∇²𝓛``: backpropagation, differentiated along every direction.

    The force on the output is ``y - ŷ``, and on a layer below what the layer above pulls back.
    """

    residual = 0.0

    def __init__(
        self, layers: Sequence[Layer], x: Tensor, y: Tensor, precision: Tensor | None
    ) -> None:
        super().__init__(layers, x)
        inputs = [x]
        for layer in layers[:-1]:
            inputs.append(layer(inputs[-1]))
        self._curved = curved(layers, inputs)
        self._precision = None if precision is None else precision.unsqueeze(-3)
        force = y.unsqueeze(-3) - self._curved[-1].tangent.value
        if self._precision is not None:
            force = torch.where(self._precision > 0, force, 0) * self._precision
        for curve in reversed(self._curved):
            force = curve.meet(force)

    def multiply(self, directions: list[Tensor]) -> list[Tensor]:
        """Multiply a block of vectors."""
        along = maps_along(self._layers, directions)
        first = self._curved[0].tangent.seen
        dz = [first.new_zeros(()).expand(*self.rows(directions), *first.shape[-2:])]
        moves = []
        for layer, v in zip(self._curved, along, strict=True):
            moves.append(layer.move(dz[-1], v))
            dz.append(moves[-1].value)
        dg = -dz.pop()
        if self._precision is not None:
            dg = dg * self._precision
        gradients = []
        for layer, v, moved, below in reversed(
            list(zip(self._curved, along, moves, dz, strict=True))
        ):
            dq, dg = layer.turn(moved, below, dg, v)
            gradients.append(layer.gradients(moved, dq, v))
        return in_order(gradients[::-1], -1 / self._x.shape[-2])
