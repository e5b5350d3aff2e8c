"""A network in JPC: its functions, and what turns their answers into the contract's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jpc
from jaxtyping import Float

from pcbench.backends._on_jax.answers import settled
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

_AT_ONCE = 32
"""Products that are made side by side: more take more memory, and hardly less time."""


class JpcHessian(Hessian[jax.Array]):
    """``v ↦ ∂g(θ + εv)/∂ε`` at ``ε = 0``, by JAX's forward mode.

    ``g`` goes from layers and a batch to gradients in the form of layers.
    """

    residual = 0.0

    def __init__(
        self,
        gradients: Callable[..., Any],
        layers: Any,
        x: Float[jax.Array, "N d_0"],
        y: Float[jax.Array, "N d_L"],
        computing: Callable[..., Any],
    ) -> None:
        self._given, self._computing = (gradients, layers, x, y), computing

    @settled
    def product(self, vectors: Float[jax.Array, "K P"]) -> Float[jax.Array, "K P"]:
        """Multiply vectors, a row each."""
        with self._computing():
            return _products(*self._given, vectors)


@eqx.filter_jit
def _products(gradients: Callable[..., Any], layers: Any, x: Any, y: Any, vectors: Any) -> Any:
    parameters = parameters_of(layers)
    ends = list(accumulate(parameter.size for parameter in parameters))[:-1]

    def slope(moved: list[Any]) -> list[Any]:
        return parameters_of(gradients(eqx.tree_at(parameters_of, layers, moved), x, y))

    def product(vector: Any) -> Any:
        parts = jnp.split(vector, ends)
        moves = [
            part.reshape(parameter.shape) for part, parameter in zip(parts, parameters, strict=True)
        ]
        _, changes = jax.jvp(slope, (parameters,), (moves,))
        return jnp.concatenate([change.ravel() for change in changes])

    return jax.lax.map(product, vectors, batch_size=_AT_ONCE)


Batch = Float[jax.Array, "N _d"]
Activities = Sequence[Batch]
Precision = Batch | None
Computing = Callable[..., AbstractContextManager[None]]


class JpcModel(Model[jax.Array]):
    """A network of JPC's layers; every call is made with the backend's dtype set."""

    def __init__(
        self, network: NetworkSpec, parameters: Sequence[jax.Array], computing: Computing
    ) -> None:
        self._computing, self._linear = computing, network.is_linear
        with computing():
            self._layers = make_layers(network, parameters)

    @settled
    def predict(self, x: Batch) -> Batch:
        """``init_activities_with_ffwd``, of which the last is the prediction."""
        with self._computing():
            return jpc.init_activities_with_ffwd(self._layers, x)[-1]

    @settled
    def loss(self, x: Batch, y: Batch, precision: Precision = None) -> Float[jax.Array, ""]:
        """``mse_loss`` of the prediction."""
        with self._computing(precision):
            return _loss(self._layers, x, y)

    @settled
    def loss_gradients(
        self, x: Batch, y: Batch, precision: Precision = None
    ) -> list[Float[jax.Array, "..."]]:
        """Gradients of JPC's loss of JPC's prediction, by JAX: JPC has no function for them."""
        with self._computing(precision):
            return parameters_of(_loss_gradients(self._layers, x, y))

    @settled
    def infer(
        self, x: Batch, y: Batch, settings: InferenceSettings, precision: Precision = None
    ) -> Inference[jax.Array]:
        """Relax the hidden activities with input and output clamped."""
        problem = Problem(self._layers, x, y)
        with self._computing(precision):
            match settings:
                case ExactInference() if self._linear:
                    return infer_exactly(problem)
                case GradientInference(halve=False) | ErrorInference():
                    return infer_by_steps(problem, settings)
                case OdeInference():
                    return infer_by_ode(problem, settings)
        refused = {
            "exact": "solves linear networks without biases in closed form; use engine: gradient",
            "gradient": "keeps a step as it is; leave preset and halve out",
        }
        raise BackendUnavailableError(
            f"JPC {refused.get(settings.engine, f'has no engine {settings.engine}')}"
        )

    @settled
    def energies(
        self, activities: Activities, precision: Precision = None
    ) -> Float[jax.Array, " L"]:
        """``pc_energy_fn`` by layer."""
        x, *hidden, y = activities
        with self._computing(precision):
            return layer_energies(Problem(self._layers, x, y), hidden)

    @settled
    def energy_gradients(
        self, activities: Activities, precision: Precision = None
    ) -> list[Float[jax.Array, "..."]]:
        """``compute_pc_param_grads``."""
        x, *hidden, y = activities
        with self._computing(precision):
            return parameters_of(_energy_gradients(self._layers, hidden, x, y))

    def loss_hessian(self, x: Batch, y: Batch, precision: Precision = None) -> JpcHessian:
        """Products of JAX's derivative with the gradients of the loss."""
        with self._computing(precision):
            return JpcHessian(_loss_gradients, self._layers, x, y, self._computing)

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
        x, y = activities[0], activities[-1]
        with self._computing(precision):
            return JpcHessian(_equilibrated_gradients, self._layers, x, y, self._computing)


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
