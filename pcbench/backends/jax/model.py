"""A network in JAX: the contract's methods, each one compiled function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax import Array
from jaxtyping import Float

from pcbench.backends.jax import objectives
from pcbench.backends.jax.engines import choice
from pcbench.backends.jax.engines.exact import Reached, infer_exactly
from pcbench.backends.jax.engines.relaxation import relax
from pcbench.backends.jax.hessians import EnergyHessian, LossHessian, UnrolledHessian
from pcbench.backends.jax.network import Parameters, Rows, forward, over_replicas
from pcbench.backends.jax.objectives import Batch
from pcbench.backends.jax.runtime import Runtime
from pcbench.contract.inference import InferenceSettings, IterativeInference
from pcbench.contract.model import BackendUnavailableError, Hessian, Inference, Model
from pcbench.networks import NetworkSpec


class JaxModel(Model[Array]):
    """A network of any layers.

    Parameters
    ----------
    network
        Its specification.
    parameters
        ``W_1 … W_L``, then the biases, on the runtime's device.
    runtime
        Where, and in what precision.
    """

    def __init__(self, network: NetworkSpec, parameters: Sequence[Array], runtime: Runtime) -> None:
        self.network, self.parameters = network, tuple(parameters)
        self.runtime = runtime

    def predict(self, x: Rows) -> Rows:
        """``ŷ = f_L(… f_1(x))``."""
        prediction: Array = self._ask(_predict, x)
        return prediction

    def loss(self, x: Rows, y: Rows, precision: Rows | None = None) -> Float[Array, "*R"]:
        """``𝓛 = 1/(2N) Σ_n (y - ŷ)ᵀ Π (y - ŷ)``."""
        value: Array = self._ask(_loss, Batch(x, y, precision))
        return value

    def loss_gradients(self, x: Rows, y: Rows, precision: Rows | None = None) -> list[Array]:
        """``∂𝓛/∂W_l``, then ``∂𝓛/∂b_l``, by ``jax.grad``."""
        return list(self._ask(_loss_gradients, Batch(x, y, precision)))

    def infer(
        self, x: Rows, y: Rows, settings: InferenceSettings, precision: Rows | None = None
    ) -> Inference[Array]:
        """Relax the hidden activities with input and output clamped.

        Raises
        ------
        BackendUnavailableError
            If exact inference is asked of a network that is not linear, or the flow of an ODE.
        """
        check_engine(self.network, settings)
        batch = Batch(x, y, precision)
        if not isinstance(settings, IterativeInference):
            passes = 1 + y.shape[-1] / y.shape[-2]
            reached = self.runtime.run(_infer_exactly, self.network, self.parameters, batch)
            return _inference(reached, passes)
        engine, limits = choice.engine(settings)
        kept = settings.max_steps + 1 if settings.record else 0
        reached = self.runtime.run(
            _relax, self.network, engine, kept, self.parameters, batch, limits
        )
        if kept:
            reached = self.runtime.run(_cut, reached)
        return _inference(reached, engine.passes(int(reached.steps), y.shape[-1]))

    def energies(
        self, activities: Sequence[Rows], precision: Rows | None = None
    ) -> Float[Array, "*R L"]:
        """``1/(2N) Σ_n ‖z_l - f_l(z_{l-1})‖²`` for ``l = 1 … L``."""
        layers: Array = self._ask(_energies, clamped(activities, precision))
        return layers

    def energy_gradients(
        self, activities: Sequence[Rows], precision: Rows | None = None
    ) -> list[Array]:
        """``∂𝓕/∂W_l``, local to each layer, then ``∂𝓕/∂b_l``."""
        return list(self._ask(_energy_gradients, clamped(activities, precision)))

    def loss_hessian(self, x: Rows, y: Rows, precision: Rows | None = None) -> Hessian[Array]:
        """``∇²𝓛``, forward over reverse."""
        _refuse_nothing(x)
        return LossHessian(self.network, self.parameters, Batch(x, y, precision), self.runtime)

    def energy_hessian(
        self,
        activities: Sequence[Rows],
        precision: Rows | None = None,
        residual: float | None = None,
    ) -> Hessian[Array]:
        """``∇²𝓕*`` by the implicit-function theorem, at the equilibrium that is given."""
        _refuse_nothing(activities[0])
        batch, hidden = clamped(activities, precision)
        return EnergyHessian(self.network, self.parameters, batch, hidden, residual, self.runtime)

    def unrolled_hessian(self, x: Rows, y: Rows, steps: int, step: float) -> Hessian[Array]:
        """Hessian of the energy that so many steps of gradient inference reach."""
        _refuse_nothing(x)
        batch = Batch(x, y, None)
        return UnrolledHessian(self.network, self.parameters, batch, steps, step, self.runtime)

    def _ask(self, function: Callable[..., Any], arguments: Any) -> Any:
        return self.runtime.run(function, self.network, self.parameters, arguments)


def check_engine(network: NetworkSpec, settings: InferenceSettings) -> None:
    """Refuse an engine that cannot treat the network.

    Raises
    ------
    BackendUnavailableError
        With the engine to take instead.
    """
    if settings.engine not in ("exact", "gradient", "gauss_newton", "error"):
        raise BackendUnavailableError(
            f"the jax backend offers no engine: {settings.engine}; use engine: gradient"
        )
    if settings.engine == "exact" and not network.is_linear:
        raise BackendUnavailableError(
            "engine: exact solves linear networks without biases; use engine: gauss_newton here"
        )


def clamped(activities: Sequence[Rows], precision: Rows | None) -> tuple[Batch, tuple[Rows, ...]]:
    """Tell the hidden activities from what is clamped."""
    return Batch(activities[0], activities[-1], precision), tuple(activities[1:-1])


def _refuse_nothing(x: Rows) -> None:
    """Refuse a batch whose Hessian would be a sum over nothing: zero."""
    if x.shape[-2] == 0:
        raise ValueError("a mean over no samples is no number; give a batch of at least one")


def _inference(reached: Reached, passes: float) -> Inference[Array]:
    steps = int(reached.steps)
    return Inference(
        activities=list(reached.activities),
        energies=reached.energies,
        steps=steps,
        residual=reached.residual,
        converged=bool(reached.converged),
        passes=passes,
        sample_residuals=reached.sample_residuals,
        path=reached.path,
    )


def _cut(reached: Reached) -> Reached:
    """Leave out the rows of the path that were not needed."""
    path, steps = reached.path, int(reached.steps)
    return reached if path is None else reached._replace(path=path[..., : steps + 1, :])


def _compiled(function: Callable[..., Any]) -> Any:
    """Compile ``function(network, parameters, arguments)`` of one replica, for all of them."""

    def every(network: NetworkSpec, parameters: Parameters, arguments: Any) -> Any:
        return over_replicas(network, partial(function, network), parameters, arguments)

    return jax.jit(every, static_argnums=0)


_predict = _compiled(forward)
_loss = _compiled(objectives.loss)
_loss_gradients = _compiled(lambda *asked: objectives.loss_and_gradients(*asked)[1])
_energies = _compiled(
    lambda network, parameters, at: objectives.energies(
        at[0], objectives.errors(network, parameters, *at)
    )
)
_energy_gradients = _compiled(
    lambda network, parameters, at: objectives.energy_gradients(network, parameters, *at)
)
_infer_exactly = jax.jit(infer_exactly, static_argnums=0)
_relax = jax.jit(relax, static_argnums=(0, 1, 2))
