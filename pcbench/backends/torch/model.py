"""A network in PyTorch: gradients and equilibria in closed form, Hessians by autograd.

All tensors may carry a leading replica axis on the parameters: ``(R, d_l, d_{l-1})``. Shapes below
leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.descent import infer_by_errors, infer_by_gradient, infer_by_ode
from pcbench.backends.torch.exact import infer_exactly
from pcbench.backends.torch.gauss_newton import infer_by_gauss_newton
from pcbench.backends.torch.hessians import (
    ImplicitEnergyHessian,
    LinearEnergyHessian,
    ObjectiveHessian,
    unrolled_hessian,
)
from pcbench.backends.torch.layers import (
    Layer,
    along,
    in_order,
    parameters_of,
    threads_that_pay,
)
from pcbench.backends.torch.relaxation import Relaxation, View
from pcbench.contract.inference import (
    Engine,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    OdeInference,
)
from pcbench.contract.model import (
    BackendUnavailableError,
    Hessian,
    Inference,
    Model,
    check_batch,
)

Batch = Float[Tensor, "*#replica N _d"]
Activities = Sequence[Batch]
Precision = Batch | None
NOT_EXACTLY = "engine: exact solves linear networks without biases; use engine: gauss_newton here"


_ENGINES: dict[type[Engine], Callable[[Relaxation, Any], Inference[Tensor]]] = {
    GradientInference: infer_by_gradient,
    GaussNewtonInference: infer_by_gauss_newton,
    ErrorInference: infer_by_errors,
    OdeInference: infer_by_ode,
}


class LayeredModel(Model[Tensor]):
    """A network of any layers, their parameters on one device.

    Where it is linear and without biases, it is solved exactly: the equilibrium and its energy's
    Hessian have closed forms.
    """

    def __init__(self, layers: Sequence[Layer], solves_exactly: bool = False) -> None:
        self.layers, self.solves_exactly = list(layers), solves_exactly
        self.weights = [layer.affine.weight for layer in layers]

    def predict(self, x: Batch) -> Batch:
        """``ŷ = f_L(… f_1(x))``."""
        for layer in self.layers:
            x = layer(x)
        return x

    def loss(self, x: Batch, y: Batch, precision: Precision = None) -> Tensor:
        """``𝓛 = 1/(2N) Σ_n (y - ŷ)ᵀ Π (y - ŷ)``."""
        check_batch(x)
        error = _output_error(y, self.predict(x), precision)
        return _half_mean(error, _weighed(error, precision))

    def loss_gradients(self, x: Batch, y: Batch, precision: Precision = None) -> list[Tensor]:
        """``∂𝓛/∂W_l`` by backpropagation, then ``∂𝓛/∂b_l``."""
        return self.backpropagate(x, y, precision)[1]

    def backpropagate(
        self, x: Batch, y: Batch, precision: Precision = None
    ) -> tuple[Float[Tensor, "*#replica"], list[Tensor]]:
        """``𝓛`` and its gradients, from one pass forward and one back."""
        check_batch(x)
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
        self, x: Batch, y: Batch, settings: InferenceSettings, precision: Precision = None
    ) -> Inference[Tensor]:
        """Relax the hidden activities with input and output clamped."""
        check_batch(x)
        if replicas := self.layers[0].affine.replicas:
            # A batch that replicas share is clamped in each of them.
            x, y = (batch.expand(*replicas, *batch.shape[-2:]) for batch in (x, y))
        if precision is not None:
            precision = precision.expand(y.shape)
        with threads_that_pay(self.layers, x.shape[-2], x.device):
            if isinstance(settings, ExactInference):
                if not self.solves_exactly:
                    raise BackendUnavailableError(NOT_EXACTLY)
                return infer_exactly(self.weights, x, y, precision)
            kinds = (infer for kind, infer in _ENGINES.items() if isinstance(settings, kind))
            infer = next(kinds, None)
            if infer is None:
                raise BackendUnavailableError(f"PyTorch has no engine {settings.engine}")
            return infer(Relaxation(self.layers, x, y, precision), settings)

    def energies(
        self, activities: Activities, precision: Precision = None
    ) -> Float[Tensor, "*#replica L"]:
        """``1/(2N) Σ_n ‖z_l - f_l(z_{l-1})‖²`` for ``l = 1 … L``."""
        return self._look(activities, precision).energies()

    def energy_gradients(self, activities: Activities, precision: Precision = None) -> list[Tensor]:
        """``∂𝓕/∂W_l``, local to each layer, then ``∂𝓕/∂b_l``."""
        view, n = self._look(activities, precision), activities[0].shape[-2]
        forces = zip(view.tangents, view.forces, strict=True)
        return in_order([tangent.gradients(force / -n) for tangent, force in forces])

    def loss_hessian(self, x: Batch, y: Batch, precision: Precision = None) -> Hessian[Tensor]:
        """``∇²𝓛``."""
        check_batch(x)
        return ObjectiveHessian(
            self.layers, x, lambda layers: LayeredModel(layers).loss(x, y, precision)
        )

    def energy_hessian(
        self, activities: Activities, precision: Precision = None, residual: float | None = None
    ) -> Hessian[Tensor]:
        """``∇²𝓕*`` by the implicit-function theorem, at the equilibrium that is given."""
        check_batch(activities[0])
        if self.solves_exactly and precision is None:
            return LinearEnergyHessian(self.layers, activities)
        return ImplicitEnergyHessian(self.layers, activities, precision, residual)

    def unrolled_hessian(self, x: Batch, y: Batch, steps: int, step: float) -> Hessian[Tensor]:
        """Hessian of the energy that so many steps of gradient inference reach."""
        check_batch(x)
        return unrolled_hessian(self.layers, x, y, steps, step)

    def _look(self, activities: Activities, precision: Precision) -> View:
        x, *hidden, y = activities
        check_batch(x)
        view = Relaxation(self.layers, x, y, precision).at(hidden)
        if precision is not None:  # a prediction that is not observed need not be a number
            view.errors[-1] = torch.where(precision > 0, view.errors[-1], 0)
        return view

    @property
    def parameters(self) -> list[Tensor]:
        """``W_1 … W_L``, then the biases of all layers, if they have them."""
        return parameters_of(self.layers)

    def along(self, parameters: Sequence[Tensor]) -> LayeredModel:
        """Return the network at other parameters, which it shares with the caller."""
        return LayeredModel(along(self.layers, parameters), self.solves_exactly)


def _output_error(y: Batch, prediction: Batch, precision: Precision) -> Batch:
    """``y - ŷ``; 0 where the output is not observed, whatever stands in ``y``."""
    if precision is None:
        return y - prediction
    return torch.where(precision > 0, y - prediction, 0)


def _weighed(error: Batch, precision: Precision) -> Batch:
    return error if precision is None else error * precision


def _half_mean(error: Batch, force: Batch) -> Float[Tensor, "*#replica"]:
    return (error * force).sum(dim=(-2, -1)) / (2 * error.shape[-2])
