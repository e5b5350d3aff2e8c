"""A network in PyTorch: gradients and equilibria in closed form, Hessians by autograd.

All tensors may carry a leading replica axis on the parameters: ``(R, d_l, d_{l-1})``. Shapes below
leave it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.engines.error import infer_by_errors
from pcbench.backends.torch.engines.exact import infer_exactly
from pcbench.backends.torch.engines.gauss_newton import infer_by_gauss_newton
from pcbench.backends.torch.engines.gradient import infer_by_gradient
from pcbench.backends.torch.engines.ode import infer_by_ode
from pcbench.backends.torch.engines.relaxation import Relaxation
from pcbench.backends.torch.hessians.implicit import ImplicitEnergyHessian
from pcbench.backends.torch.hessians.linear import LinearEnergyHessian
from pcbench.backends.torch.hessians.objective import ObjectiveHessian
from pcbench.backends.torch.hessians.unrolled import UnrolledHessian
from pcbench.backends.torch.layer import Layer, along, in_order, parameters_of
from pcbench.backends.torch.maps import Matrix
from pcbench.backends.torch.threads import threads_that_pay
from pcbench.contract.inference import (
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    OdeInference,
)
from pcbench.contract.model import BackendUnavailableError, Hessian, Inference, Model

Batch = Float[Tensor, "*#replica N _d"]


class LayeredModel(Model[Tensor]):
    """A network of any layers.

    Parameters
    ----------
    layers
        ``f_1 … f_L``, their parameters on one device.
    """

    solves_exactly: ClassVar[bool] = False
    """Whether ``engine: exact`` takes it."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)
        self.weights = [layer.affine.weight for layer in layers]

    def predict(self, x: Batch) -> Batch:
        """``ŷ = f_L(… f_1(x))``."""
        for layer in self.layers:
            x = layer(x)
        return x

    def loss(self, x: Batch, y: Batch, precision: Batch | None = None) -> Tensor:
        """``𝓛 = 1/(2N) Σ_n (y - ŷ)ᵀ Π (y - ŷ)``."""
        _refuse_nothing(x)
        error = _output_error(y, self.predict(x), precision)
        return _half_mean(error, _weighed(error, precision))

    def loss_gradients(self, x: Batch, y: Batch, precision: Batch | None = None) -> list[Tensor]:
        """``∂𝓛/∂W_l`` by backpropagation, then ``∂𝓛/∂b_l``."""
        return self.backpropagate(x, y, precision)[1]

    def backpropagate(
        self, x: Batch, y: Batch, precision: Batch | None = None
    ) -> tuple[Float[Tensor, "*#replica"], list[Tensor]]:
        """``𝓛`` and its gradients, from one pass forward and one back."""
        _refuse_nothing(x)
        with threads_that_pay(self.layers, x.shape[-2], x.device):
            tangents = []
            for layer in self.layers:
                tangents.append(layer.at(x))
                x = tangents[-1].value
            error = _output_error(y, x, precision)
            force = _weighed(error, precision)
            back = force / -y.shape[-2]
            gradients = []
            for tangent in reversed(tangents):
                gradients.append(tangent.gradients(back))
                if len(gradients) < len(tangents):
                    back = tangent.pull(back)
        return _half_mean(error, force), in_order(gradients[::-1])

    def infer(
        self,
        x: Batch,
        y: Batch,
        settings: InferenceSettings,
        precision: Batch | None = None,
    ) -> Inference[Tensor]:
        """Relax the hidden activities with input and output clamped.

        Raises
        ------
        BackendUnavailableError
            If exact inference is asked of a network that is not linear.
        ValueError
            If the batch has no samples, as everywhere that a mean is taken over them.
        """
        _refuse_nothing(x)
        if replicas := self.layers[0].affine.replicas:
            # A batch that replicas share is clamped in each of them.
            x, y = (batch.expand(*replicas, *batch.shape[-2:]) for batch in (x, y))
        if precision is not None:
            precision = precision.expand(y.shape)
        with threads_that_pay(self.layers, x.shape[-2], x.device):
            if isinstance(settings, ExactInference):
                return self._infer_exactly(x, y, precision)
            relaxation = Relaxation(self.layers, x, y, precision)
            match settings:
                case GradientInference():
                    return infer_by_gradient(relaxation, settings)
                case GaussNewtonInference():
                    return infer_by_gauss_newton(relaxation, settings)
                case ErrorInference():
                    return infer_by_errors(relaxation, settings)
                case OdeInference():
                    return infer_by_ode(relaxation, settings)
                case _:
                    raise BackendUnavailableError(f"PyTorch has no engine {settings.engine}")

    def _infer_exactly(self, x: Batch, y: Batch, precision: Batch | None) -> Inference[Tensor]:
        raise BackendUnavailableError(
            "engine: exact solves linear networks without biases; use engine: gauss_newton here"
        )

    def energies(
        self, activities: Sequence[Batch], precision: Batch | None = None
    ) -> Float[Tensor, "*#replica L"]:
        """``1/(2N) Σ_n ‖z_l - f_l(z_{l-1})‖²`` for ``l = 1 … L``."""
        _refuse_nothing(activities[0])
        predictions = [layer(below) for layer, below in zip(self.layers, activities, strict=False)]
        return torch.stack(
            [
                _half_mean(error, force)
                for error, force in _errors(activities, predictions, precision)
            ],
            dim=-1,
        )

    def energy_gradients(
        self, activities: Sequence[Batch], precision: Batch | None = None
    ) -> list[Tensor]:
        """``∂𝓕/∂W_l``, local to each layer, then ``∂𝓕/∂b_l``."""
        _refuse_nothing(activities[0])
        tangents = [layer.at(below) for layer, below in zip(self.layers, activities, strict=False)]
        n = activities[0].shape[-2]
        return in_order(
            [
                tangent.gradients(force / -n)
                for tangent, (_, force) in zip(
                    tangents,
                    _errors(activities, [tangent.value for tangent in tangents], precision),
                    strict=True,
                )
            ]
        )

    def loss_hessian(self, x: Batch, y: Batch, precision: Batch | None = None) -> Hessian[Tensor]:
        """``∇²𝓛``.

        Raises
        ------
        BackendUnavailableError
            If convolutions have replicas.
        """
        _refuse_nothing(x)
        return ObjectiveHessian(
            self.layers, x, lambda layers: LayeredModel(layers).loss(x, y, precision)
        )

    def energy_hessian(
        self,
        activities: Sequence[Batch],
        precision: Batch | None = None,
        residual: float | None = None,
    ) -> Hessian[Tensor]:
        """``∇²𝓕*`` by the implicit-function theorem, at the equilibrium that is given.

        Raises
        ------
        BackendUnavailableError
            If convolutions have replicas.
        """
        _refuse_nothing(activities[0])
        return ImplicitEnergyHessian(self.layers, activities, precision, residual)

    def unrolled_hessian(self, x: Batch, y: Batch, steps: int, step: float) -> Hessian[Tensor]:
        """Hessian of the energy that so many steps of gradient inference reach."""
        _refuse_nothing(x)
        return UnrolledHessian(self.layers, x, y, steps, step)

    @property
    def parameters(self) -> list[Tensor]:
        """``W_1 … W_L``, then the biases of all layers, if they have them."""
        return parameters_of(self.layers)

    def along(self, parameters: Sequence[Tensor]) -> LayeredModel:
        """Return the network at other parameters, which it shares with the caller."""
        return LayeredModel(along(self.layers, parameters))


class LinearModel(LayeredModel):
    """``f_l(z) = W_l z`` at every layer: the equilibrium and its energy's Hessian in closed form.

    Parameters
    ----------
    weights
        ``W_1 … W_L``, each ``(d_l, d_{l-1})`` or ``(R, d_l, d_{l-1})``, on one device.
    """

    solves_exactly: ClassVar[bool] = True

    def __init__(self, weights: Sequence[Float[Tensor, "*#replica _out _inp"]]) -> None:
        super().__init__([Layer(Matrix(weight, None)) for weight in weights])

    def _infer_exactly(self, x: Batch, y: Batch, precision: Batch | None) -> Inference[Tensor]:
        return infer_exactly(self.weights, x, y, precision)

    def along(self, parameters: Sequence[Tensor]) -> LinearModel:
        """Return the network at other weights, which it shares with the caller."""
        return LinearModel(parameters)

    def energy_hessian(
        self,
        activities: Sequence[Batch],
        precision: Batch | None = None,
        residual: float | None = None,
    ) -> Hessian[Tensor]:
        """``∇²𝓕*`` in closed form."""
        if precision is not None:
            return super().energy_hessian(activities, precision, residual)
        _refuse_nothing(activities[0])
        return LinearEnergyHessian(self.layers, activities)


def _refuse_nothing(x: Batch) -> None:
    """Refuse a batch whose derivatives would be sums over nothing: zeros, as at a minimum."""
    if x.shape[-2] == 0:
        raise ValueError("a mean over no samples is no number; give a batch of at least one")


def _output_error(y: Batch, prediction: Batch, precision: Batch | None) -> Batch:
    """``y - ŷ``; 0 where the output is not observed, whatever stands in ``y``."""
    if precision is None:
        return y - prediction
    return torch.where(precision > 0, y - prediction, 0)


def _weighed(error: Batch, precision: Batch | None) -> Batch:
    return error if precision is None else error * precision


def _errors(
    activities: Sequence[Batch], predictions: Sequence[Batch], precision: Batch | None
) -> list[tuple[Batch, Batch]]:
    """``e_l`` and ``(π e)_l`` for ``l = 1 … L``."""
    hidden = [above - below for above, below in zip(activities[1:-1], predictions, strict=False)]
    output = _output_error(activities[-1], predictions[-1], precision)
    return [*((error, error) for error in hidden), (output, _weighed(output, precision))]


def _half_mean(error: Batch, force: Batch) -> Float[Tensor, "*#replica"]:
    return (error * force).sum(dim=(-2, -1)) / (2 * error.shape[-2])
