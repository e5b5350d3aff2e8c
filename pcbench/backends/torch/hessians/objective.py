"""The Hessian of any function of the parameters: its gradient, differentiated along vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from pcbench.backends.torch.hessians.blocks import BlockedHessian
from pcbench.backends.torch.hessians.differentiation import gradients, products, variables
from pcbench.backends.torch.layer import Layer, along, parameters_of


class ObjectiveHessian(BlockedHessian):
    """Hessian of an objective that layers have, replica by replica.

    Parameters
    ----------
    layers, x
        As of :class:`BlockedHessian`.
    objective
        From layers to one number a replica.
    """

    residual = 0.0

    def __init__(
        self, layers: Sequence[Layer], x: Tensor, objective: Callable[[list[Layer]], Tensor]
    ) -> None:
        super().__init__(layers, x)
        self._parameters = variables(parameters_of(layers))
        self._gradients = gradients(objective(along(layers, self._parameters)), self._parameters)

    def multiply(self, directions: list[Tensor]) -> list[Tensor]:
        """Multiply a block of vectors."""
        return products(self._gradients, self._parameters, directions, self._axis)
