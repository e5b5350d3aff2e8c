"""A network in JAX: the contract's methods, each one compiled function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax import Array
from jaxtyping import Float

from pcbench.backends._on_jax import OnJax
from pcbench.backends._on_jax.answers import on_host
from pcbench.backends.jax.engines import choose_engine
from pcbench.backends.jax.exact import infer_exactly
from pcbench.backends.jax.hessians import JaxHessian, UnrolledAlong, energy_hessian, loss_along
from pcbench.backends.jax.network import (
    Batch,
    Parameters,
    Rows,
    energies,
    energy_gradients,
    errors,
    forward,
    loss,
    loss_and_gradients,
    over_replicas,
)
from pcbench.backends.jax.relaxation import relax
from pcbench.contract.inference import InferenceSettings, IterativeInference
from pcbench.contract.model import (
    BackendUnavailableError,
    Hessian,
    Inference,
    Model,
    check_batch,
)
from pcbench.networks import NetworkSpec

Activities = Sequence[Rows]
Precision = Rows | None


class JaxModel(Model[Array]):
    """A network of any layers, its parameters on the runtime's device."""

    def __init__(self, network: NetworkSpec, parameters: Sequence[Array], runtime: OnJax) -> None:
        self.network, self.parameters = network, tuple(parameters)
        self.runtime = runtime

    def predict(self, x: Rows) -> Rows:
        """``ŷ = f_L(… f_1(x))``."""
        return self._ask(_predict, x)

    def loss(self, x: Rows, y: Rows, precision: Precision = None) -> Float[Array, "*R"]:
        """``𝓛 = 1/(2N) Σ_n (y - ŷ)ᵀ Π (y - ŷ)``."""
        return self._ask(_loss, Batch(x, y, precision))

    def loss_gradients(self, x: Rows, y: Rows, precision: Precision = None) -> list[Array]:
        """``∂𝓛/∂W_l``, then ``∂𝓛/∂b_l``, by ``jax.grad``."""
        return list(self._ask(_loss_gradients, Batch(x, y, precision)))

    def infer(
        self, x: Rows, y: Rows, settings: InferenceSettings, precision: Precision = None
    ) -> Inference[Array]:
        """Relax the hidden activities with input and output clamped."""
        check_engine(self.network, settings)
        batch, run = Batch(x, y, precision), self.runtime.run
        if isinstance(settings, IterativeInference):
            engine, limits = choose_engine(settings)
            kept = settings.max_steps + 1 if settings.record else 0
            reached = run(_relax, self.network, engine, kept, self.parameters, batch, limits)
            passes = engine.passes(int(reached.steps), y.shape[-1])
        else:
            reached = run(_infer_exactly, self.network, self.parameters, batch)
            passes = 1 + y.shape[-1] / y.shape[-2]
        return run(on_host, reached, passes)

    def energies(self, activities: Activities, precision: Precision = None) -> Float[Array, "*R L"]:
        """``1/(2N) Σ_n ‖z_l - f_l(z_{l-1})‖²`` for ``l = 1 … L``."""
        return self._ask(_energies, clamped(activities, precision))

    def energy_gradients(self, activities: Activities, precision: Precision = None) -> list[Array]:
        """``∂𝓕/∂W_l``, local to each layer, then ``∂𝓕/∂b_l``."""
        return list(self._ask(_energy_gradients, clamped(activities, precision)))

    def loss_hessian(self, x: Rows, y: Rows, precision: Precision = None) -> Hessian[Array]:
        """``∇²𝓛``, forward over reverse."""
        check_batch(x)
        batch = Batch(x, y, precision)
        asked = (self.parameters, batch, (), ())
        return JaxHessian(loss_along, self.network, asked, self.runtime)

    def energy_hessian(
        self, activities: Activities, precision: Precision = None, residual: float | None = None
    ) -> Hessian[Array]:
        """``∇²𝓕*`` by the implicit-function theorem, at the equilibrium that is given."""
        check_batch(activities[0])
        batch, hidden = clamped(activities, precision)
        return energy_hessian(self.network, self.parameters, batch, hidden, residual, self.runtime)

    def unrolled_hessian(self, x: Rows, y: Rows, steps: int, step: float) -> Hessian[Array]:
        """Hessian of the energy that so many steps of gradient inference reach."""
        check_batch(x)
        batch = Batch(x, y, None)
        asked = (self.parameters, batch, (), (float(step),))
        return JaxHessian(UnrolledAlong(steps), self.network, asked, self.runtime)

    def _ask(self, function: Callable[..., Any], arguments: Any) -> Any:
        return self.runtime.run(function, self.network, self.parameters, arguments)


def check_engine(network: NetworkSpec, settings: InferenceSettings) -> None:
    """Refuse an engine that cannot treat the network, and name one to take instead."""
    if settings.engine not in ("exact", "gradient", "gauss_newton", "error"):
        raise BackendUnavailableError(
            f"the jax backend offers no engine: {settings.engine}; use engine: gradient"
        )
    if settings.engine == "exact" and not network.is_linear:
        raise BackendUnavailableError(
            "engine: exact solves linear networks without biases; use engine: gauss_newton here"
        )


def clamped(activities: Activities, precision: Precision) -> tuple[Batch, tuple[Rows, ...]]:
    """Tell the hidden activities from what is clamped."""
    return Batch(activities[0], activities[-1], precision), tuple(activities[1:-1])


def _compiled(function: Callable[..., Any]) -> Any:
    """Compile ``function(network, parameters, arguments)`` of one replica, for all of them."""

    def every(network: NetworkSpec, parameters: Parameters, arguments: Any) -> Any:
        return over_replicas(network, partial(function, network), parameters, arguments)

    return jax.jit(every, static_argnums=0)


_predict = _compiled(forward)
_loss = _compiled(loss)
_loss_gradients = _compiled(lambda *asked: loss_and_gradients(*asked)[1])
_energies = _compiled(lambda network, at, z: energies(z[0], errors(network, at, *z)))
_energy_gradients = _compiled(lambda network, at, z: energy_gradients(network, at, *z))
_infer_exactly = jax.jit(infer_exactly, static_argnums=0)
_relax = jax.jit(relax, static_argnums=(0, 1, 2))
