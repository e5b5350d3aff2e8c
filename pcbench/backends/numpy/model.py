"""A network in NumPy, without replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from pcbench.backends.numpy.engines.error import infer_by_errors
from pcbench.backends.numpy.engines.exact import infer_exactly
from pcbench.backends.numpy.engines.gauss_newton import infer_by_gauss_newton
from pcbench.backends.numpy.engines.gradient import infer_by_gradient
from pcbench.backends.numpy.engines.ode import infer_by_ode
from pcbench.backends.numpy.hessians.energy import EnergyHessian
from pcbench.backends.numpy.hessians.unrolled import UnrolledHessian
from pcbench.backends.numpy.layers import Layer
from pcbench.backends.numpy.network import along, in_order, parameters_of
from pcbench.backends.numpy.state import Clamped
from pcbench.contract.inference import (
    Engine,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    OdeInference,
)
from pcbench.contract.model import BackendUnavailableError, Hessian, Inference, Model

Batch = Float[np.ndarray, "N _d"]
Array = Float[np.ndarray, "..."]
Infer = Callable[[Clamped, Any], Inference[Array]]


class NumpyModel(Model[Array]):
    """A network of any layers.

    Overflow and invalid numbers raise no warnings: they show themselves in the answers.

    Parameters
    ----------
    layers
        ``f_1 … f_L``.

    Attributes
    ----------
    engines
        What infers in a clamped network, by the settings that ask for it.
    """

    engines: ClassVar[Mapping[type[Engine], Infer]] = {
        ExactInference: lambda clamped, _: infer_exactly(clamped),
        GradientInference: infer_by_gradient,
        GaussNewtonInference: infer_by_gauss_newton,
        ErrorInference: infer_by_errors,
        OdeInference: infer_by_ode,
    }

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)

    @np.errstate(all="ignore")
    def predict(self, x: Batch) -> Batch:
        """``ŷ = f_L(… f_1(x))``."""
        for layer in self.layers:
            x = layer.at(x).value
        return x

    @np.errstate(all="ignore")
    def loss(self, x: Batch, y: Batch, precision: Batch | None = None) -> Array:
        """``𝓛``: the energy of the output at the feedforward activities."""
        return np.asarray(self._clamp(x, y, precision).feedforward().energies()[-1])

    @np.errstate(all="ignore")
    def loss_gradients(self, x: Batch, y: Batch, precision: Batch | None = None) -> list[Array]:
        """``∂𝓛/∂W_l`` by the chain rule, then ``∂𝓛/∂b_l``."""
        start = self._clamp(x, y, precision).feedforward()
        force, pairs = -start.forces[-1], []
        for layer in reversed(start.evaluated):
            pairs.append(layer.gradients(force))
            force = layer.pull(force)
        # Of no samples the mean is no number: sums are divided, not what is summed.
        return [gradient / np.float64(len(x)) for gradient in in_order(reversed(pairs))]

    @np.errstate(all="ignore")
    def infer(
        self, x: Batch, y: Batch, settings: InferenceSettings, precision: Batch | None = None
    ) -> Inference[Array]:
        """Relax the hidden activities with input and output clamped.

        Raises
        ------
        BackendUnavailableError
            If exact inference is asked of a network with activations or pooling, or a method that
            SciPy does not have.
        """
        infer = self.engines.get(type(settings))
        if infer is None:
            raise BackendUnavailableError(
                f"the numpy backend offers no engine: {settings.engine}; use engine: gradient"
            )
        return infer(self._clamp(x, y, precision), settings)

    @np.errstate(all="ignore")
    def energies(self, activities: Sequence[Batch], precision: Batch | None = None) -> Array:
        """Energy of each layer, by its definition."""
        x, *hidden, y = activities
        return self._clamp(x, y, precision).at(hidden).energies()

    @np.errstate(all="ignore")
    def energy_gradients(
        self, activities: Sequence[Batch], precision: Batch | None = None
    ) -> list[Array]:
        """``∂𝓕/∂W_l``, local to each layer, then ``∂𝓕/∂b_l``."""
        x, *hidden, y = activities
        gradients = self._clamp(x, y, precision).at(hidden).gradients()
        return [gradient / np.float64(len(x)) for gradient in gradients]

    @np.errstate(all="ignore")
    def loss_hessian(self, x: Batch, y: Batch, precision: Batch | None = None) -> Hessian[Array]:
        """``∇²𝓛``: the loss is the energy that is reached in no steps."""
        return UnrolledHessian(self._clamp(x, y, precision), steps=0, step=0.0)

    @np.errstate(all="ignore")
    def energy_hessian(
        self,
        activities: Sequence[Batch],
        precision: Batch | None = None,
        residual: float | None = None,
    ) -> Hessian[Array]:
        """``∇²𝓕*`` at the equilibrium that is given.

        Inner systems are solved directly, to rounding, whatever the residual asked for.
        """
        x, *hidden, y = activities
        return EnergyHessian(self._clamp(x, y, precision).at(hidden))

    def unrolled_hessian(self, x: Batch, y: Batch, steps: int, step: float) -> Hessian[Array]:
        """Hessian of the energy that so many steps of gradient inference reach."""
        return UnrolledHessian(self._clamp(x, y, None), steps, step)

    @property
    def parameters(self) -> list[Array]:
        """``W_1 … W_L``, then the biases of all layers, if they have them."""
        return parameters_of(self.layers)

    def along(self, parameters: Sequence[Array]) -> NumpyModel:
        """Return the network at other parameters."""
        return type(self)(along(self.layers, parameters))

    def _clamp(self, x: Batch, y: Batch, precision: Batch | None) -> Clamped:
        return Clamped.of(self.layers, x, y, precision)
