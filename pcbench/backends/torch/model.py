"""A deep linear network in PyTorch: everything a closed form, nothing by autograd.

All tensors may carry a leading replica axis on the weights: ``(R, d_l, d_{l-1})``. Shapes below
leave it out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.base import Inference, Model, Objective
from pcbench.backends.inference import ExactInference, InferenceSettings
from pcbench.backends.torch import hessian
from pcbench.backends.torch.exact import infer_exactly
from pcbench.backends.torch.gradient import infer_by_gradient
from pcbench.backends.torch.threads import threads_that_pay


class LinearModel(Model[Tensor]):
    """``f_l(z) = W_l z`` at every layer.

    Parameters
    ----------
    weights
        ``W_1 … W_L``, each ``(d_l, d_{l-1})`` or ``(R, d_l, d_{l-1})``, on one device.
    """

    def __init__(self, weights: Sequence[Float[Tensor, "*#replica _out _inp"]]) -> None:
        self.weights = list(weights)

    def predict(self, x: Float[Tensor, "*#replica N d_0"]) -> Float[Tensor, "*#replica N d_L"]:
        """``ŷ = W_L … W_1 x``."""
        return self._forward(x)[-1]

    def loss(
        self, x: Float[Tensor, "*#replica N d_0"], y: Float[Tensor, "*#replica N d_L"]
    ) -> Float[Tensor, "*#replica"]:
        """``𝓛 = 1/(2N) Σ_n ‖y - ŷ‖²``."""
        return _half_mean_square(y - self.predict(x))

    def loss_gradients(
        self, x: Float[Tensor, "*#replica N d_0"], y: Float[Tensor, "*#replica N d_L"]
    ) -> list[Float[Tensor, "*#replica _out _inp"]]:
        """``∂𝓛/∂W_l = (1/N) g_lᵀ h_{l-1}``, with ``g_L = ŷ - y`` and ``g_l = g_{l+1} W_{l+1}``."""
        with threads_that_pay(self.weights, x):
            activities = self._forward(x)
            backward = (activities[-1] - y) / x.shape[-2]
            gradients = []
            for weight, below in zip(self.weights[::-1], activities[-2::-1], strict=True):
                gradients.append(backward.mT @ below)
                if len(gradients) < len(self.weights):
                    backward = backward @ weight
        return gradients[::-1]

    def infer(
        self,
        x: Float[Tensor, "*#replica N d_0"],
        y: Float[Tensor, "*#replica N d_L"],
        settings: InferenceSettings,
    ) -> Inference[Tensor]:
        """Relax the hidden activities with input and output clamped."""
        replicas = self.weights[0].shape[:-2]  # a batch that they share is clamped in each of them
        x, y = (batch.expand(*replicas, *batch.shape[-2:]) for batch in (x, y))
        with threads_that_pay(self.weights, x):
            if isinstance(settings, ExactInference):
                return infer_exactly(self.weights, x, y)
            return infer_by_gradient(self.weights, x, y, settings)

    def energies(
        self, activities: Sequence[Float[Tensor, "*#replica N _d"]]
    ) -> Float[Tensor, "*#replica L"]:
        """``1/(2N) Σ_n ‖z_l - W_l z_{l-1}‖²`` for ``l = 1 … L``."""
        return torch.stack([_half_mean_square(e) for e in self._errors(activities)], dim=-1)

    def energy_gradients(
        self, activities: Sequence[Float[Tensor, "*#replica N _d"]]
    ) -> list[Float[Tensor, "*#replica _out _inp"]]:
        """``∂𝓕/∂W_l = -(1/N) e_lᵀ z_{l-1}``: local to each layer."""
        n = activities[0].shape[-2]
        return [
            error.mT @ below.div(-n)
            for error, below in zip(self._errors(activities), activities, strict=False)
        ]

    def hessian_product(
        self,
        objective: Objective,
        x: Float[Tensor, "N d_0"],
        y: Float[Tensor, "N d_L"],
        vectors: Float[Tensor, "*#replica K P"],
    ) -> Float[Tensor, "*#replica K P"]:
        """Multiply vectors by ``∇²𝓛`` or ``∇²𝓕*``."""
        multiply = {"loss": hessian.loss_product, "energy": hessian.energy_product}[objective]
        return multiply(self.weights, x, y, vectors)

    def _forward(self, x: Float[Tensor, "*#replica N d_0"]) -> list[Tensor]:
        activities = [x]
        for weight in self.weights:
            activities.append(activities[-1] @ weight.mT)
        return activities

    def _errors(self, activities: Sequence[Tensor]) -> list[Tensor]:
        return [
            above - below @ weight.mT
            for weight, below, above in zip(self.weights, activities, activities[1:], strict=False)
        ]


def _half_mean_square(errors: Float[Tensor, "*#replica N _d"]) -> Float[Tensor, "*#replica"]:
    return errors.square().sum(dim=(-2, -1)) / (2 * errors.shape[-2])
