"""A network in JPC: its functions, and what turns their answers into the contract's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jpc
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from pcbench.backends.jpc.engines import (
    Problem,
    infer_by_ode,
    infer_by_steps,
    infer_exactly,
    layer_energies,
    make_layers,
    parameters_of,
)
from pcbench.contract.inference import (
    ErrorInference,
    ExactInference,
    GradientInference,
    InferenceSettings,
    OdeInference,
)
from pcbench.contract.model import BackendUnavailableError, Hessian, Inference, Model
from pcbench.networks import NetworkSpec

_REFUSED = {
    "exact": "solves linear networks without biases in closed form; use engine: gradient",
    "gradient": "keeps a step as it is; leave preset and halve out",
}
_AT_ONCE = 32
"""Products that are made side by side: more take more memory, and hardly less time."""


class JpcHessian(Hessian[Array]):
    """``v ↦ ∂g(θ + εv)/∂ε`` at ``ε = 0``, by JAX's forward mode.

    ``g`` goes from layers and a batch to gradients in the form of layers.
    """

    residual = 0.0

    def __init__(
        self,
        gradients: Callable[..., Any],
        layers: Any,
        x: Float[Array, "N d_0"],
        y: Float[Array, "N d_L"],
        run: Callable[..., Any],
    ) -> None:
        self._given, self._run = (gradients, layers, x, y), run

    def product(self, vectors: Float[Array, "K P"]) -> Float[Array, "K P"]:
        """Multiply vectors, a row each."""
        return self._run(_products, *self._given, vectors)


@eqx.filter_jit
def _products(gradients: Callable[..., Any], layers: Any, x: Any, y: Any, vectors: Any) -> Any:
    parameters = parameters_of(layers)
    _, in_shape = ravel_pytree(parameters)

    def slope(moved: list[Any]) -> list[Any]:
        return parameters_of(gradients(eqx.tree_at(parameters_of, layers, moved), x, y))

    def product(vector: Any) -> Any:
        _, changes = jax.jvp(slope, (parameters,), (in_shape(vector),))
        return ravel_pytree(changes)[0]

    return jax.lax.map(product, vectors, batch_size=_AT_ONCE)


Batch = Float[Array, "N _d"]
Activities = Sequence[Batch]
Precision = Batch | None


class JpcModel(Model[Array]):
    """A network of JPC's layers; every call is made with the backend's dtype set."""

    def __init__(
        self, network: NetworkSpec, parameters: Sequence[Array], run: Callable[..., Any]
    ) -> None:
        self._run, self._linear = run, network.is_linear
        self._layers = run(make_layers, network, parameters)

    def predict(self, x: Batch) -> Batch:
        """``init_activities_with_ffwd``, of which the last is the prediction."""
        return self._run(jpc.init_activities_with_ffwd, self._layers, x)[-1]

    def loss(self, x: Batch, y: Batch, precision: Precision = None) -> Array:
        """``mse_loss`` of the prediction."""
        return self._run(_loss, self._layers, x, y, precision=precision)

    def loss_gradients(self, x: Batch, y: Batch, precision: Precision = None) -> list[Array]:
        """Gradients of JPC's loss of JPC's prediction, by JAX: JPC has no function for them."""
        slopes = self._run(_loss_gradients, self._layers, x, y, precision=precision)
        return parameters_of(slopes)

    def infer(
        self, x: Batch, y: Batch, settings: InferenceSettings, precision: Precision = None
    ) -> Inference[Array]:
        """Relax the hidden activities with input and output clamped."""
        infer: Callable[..., Inference[Array]]
        match settings:
            case ExactInference() if self._linear:
                infer = infer_exactly
            case GradientInference(halve=False) | ErrorInference():
                infer = infer_by_steps
            case OdeInference():
                infer = infer_by_ode
            case _:
                raise BackendUnavailableError(
                    f"JPC {_REFUSED.get(settings.engine, f'has no engine {settings.engine}')}"
                )
        return self._run(infer, Problem(self._layers, x, y), settings, precision=precision)

    def energies(self, activities: Activities, precision: Precision = None) -> Array:
        """``pc_energy_fn`` by layer."""
        x, *hidden, y = activities
        problem = Problem(self._layers, x, y)
        return self._run(layer_energies, problem, hidden, precision=precision)

    def energy_gradients(self, activities: Activities, precision: Precision = None) -> list[Array]:
        """``compute_pc_param_grads``."""
        x, *hidden, y = activities
        asked = (self._layers, hidden, x, y)
        return parameters_of(self._run(_energy_gradients, *asked, precision=precision))

    def loss_hessian(self, x: Batch, y: Batch, precision: Precision = None) -> JpcHessian:
        """Products of JAX's derivative with the gradients of the loss."""
        asked = (_loss_gradients, self._layers, x, y, self._run)
        return self._run(JpcHessian, *asked, precision=precision)

    def energy_hessian(
        self, activities: Activities, precision: Precision = None, residual: float | None = None
    ) -> JpcHessian:
        """Products of JAX's derivative with JPC's gradients of the equilibrated energy.

        They are of Theorem 1's formula, and so no equilibrium is looked at.
        """
        if not self._linear:
            raise BackendUnavailableError(
                "JPC knows the equilibrated energy, and so its Hessian, of linear networks only"
            )
        asked = (_equilibrated_gradients, self._layers, activities[0], activities[-1], self._run)
        return self._run(JpcHessian, *asked, precision=precision)


@eqx.filter_jit
def _loss(layers: Any, x: Batch, y: Batch) -> Any:
    return jpc.mse_loss(jpc.init_activities_with_ffwd(layers, x)[-1], y)


_loss_gradients = eqx.filter_jit(eqx.filter_grad(_loss))


@eqx.filter_jit
def _energy_gradients(layers: Any, hidden: Sequence[Batch], x: Batch, y: Batch) -> Any:
    return jpc.compute_pc_param_grads((layers, None), [*hidden, y], y, x=x)[0]


@eqx.filter_jit
def _equilibrated_gradients(layers: Any, x: Batch, y: Batch) -> Any:
    return jpc.compute_linear_equilib_energy_grads((layers, None), x, y)[0]
