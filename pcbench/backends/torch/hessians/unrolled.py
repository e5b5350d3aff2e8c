"""The Hessian during inference: through the steps that were taken.

Here, and nowhere else, PyTorch's own differentiation is used: ``t`` steps deep, twice, which is
right for what it is, dear, and for small networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pcbench.backends.torch.engines.relaxation import Relaxation
from pcbench.backends.torch.hessians.blocks import BlockedHessian
from pcbench.backends.torch.layer import Layer
from pcbench.contract.model import BackendUnavailableError


class UnrolledHessian(BlockedHessian):
    """Hessian of the energy after ``steps`` steps ``z ← z - step · ∂(N𝓕)/∂z``.

    Raises
    ------
    BackendUnavailableError
        If the parameters have replicas.
    """

    residual = 0.0

    def __init__(
        self, layers: Sequence[Layer], x: Tensor, y: Tensor, steps: int, step: float
    ) -> None:
        super().__init__(layers, x)
        if layers[0].affine.replicas:
            raise BackendUnavailableError("Hessians through steps of inference take no replicas")
        weights = [layer.affine.weight.detach().clone().requires_grad_() for layer in layers]
        biases = [
            None if bias is None else bias.detach().clone().requires_grad_()
            for bias in (layer.affine.bias for layer in layers)
        ]
        moved = [
            replace(layer, affine=layer.affine.along(weight, bias))
            for layer, weight, bias in zip(layers, weights, biases, strict=True)
        ]
        self._parameters = [*weights, *(bias for bias in biases if bias is not None)]
        view = Relaxation(moved, x, y, None).feedforward()
        for _ in range(steps):
            hidden = zip(view.activities[1:], view.slopes(), strict=True)
            view = view.relaxation.at([z - step * slope for z, slope in hidden])
        energy = view.sample_energies().mean()
        # Parameters that the energy does not depend on get zeros, not an error.
        for parameter in self._parameters:
            energy = energy + 0 * parameter.square().sum()
        self._gradients = torch.autograd.grad(energy, self._parameters, create_graph=True)

    def multiply(self, directions: list[Tensor]) -> tuple[Tensor, ...]:
        """Multiply a block of vectors."""
        return torch.autograd.grad(
            self._gradients,
            self._parameters,
            grad_outputs=directions,
            is_grads_batched=True,
            retain_graph=True,
        )
