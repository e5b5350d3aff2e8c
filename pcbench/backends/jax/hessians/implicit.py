r"""The Hessian of the equilibrated energy, by the implicit-function theorem (theory.md 3.1).

.. math::
    ∇^2 𝓕^* V = 𝓕_{θθ} V + 𝓕_{θz} \, δz, \qquad 𝓕_{zz} \, δz = - 𝓕_{zθ} V .

All products are derivatives of ``∇𝓕`` along a direction. The inner system is solved by conjugate
gradients, every sample's by itself, and preconditioned with the Gauss-Newton part of ``𝓕_zz``. In
the errors ``δe = B δz`` that is ``I + Kᵀ Π K``, inverted by way of the outputs; ``B⁻¹`` is the
derivative of the activities in the errors, and ``B⁻ᵀ`` its transpose. Where layers are straight
the preconditioner solves the system at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from pcbench.backends.jax.engines.exact import ratio
from pcbench.backends.jax.engines.gauss_newton import jacobian_of_outputs
from pcbench.backends.jax.engines.output import output_force
from pcbench.backends.jax.hessians.products import JaxHessian
from pcbench.backends.jax.network import Number, Parameters, Rows, layer, over_replicas
from pcbench.backends.jax.objectives import Batch, energy, errors
from pcbench.backends.jax.runtime import Runtime
from pcbench.networks import NetworkSpec

Hidden = tuple[Rows, ...]

# Steps of conjugate gradients, at most; and the residual asked for, in units of the dtype's
# epsilon: what rounding leaves of a system whose condition number is in the hundreds.
_MAX_STEPS = 200
_EPSILONS = 16.0


class EnergyHessian(JaxHessian):
    """``∇²𝓕*`` at the equilibrium activities ``z_0 … z_L``.

    Parameters
    ----------
    residual
        Relative residual of the inner system at which its solution is good enough; ``None`` for
        what the dtype allows.
    """

    def __init__(
        self,
        network: NetworkSpec,
        parameters: Parameters,
        batch: Batch,
        hidden: Hidden,
        residual: float | None,
        runtime: Runtime,
    ) -> None:
        if residual is None:
            residual = _EPSILONS * float(jnp.finfo(batch.x.dtype).eps)
        prepared = runtime.run(_prepare, network, parameters, (batch, hidden))
        super().__init__(_along, network, parameters, batch, runtime, prepared, (residual,))


class _Equilibrium(NamedTuple):
    """The activities, and what the output makes of their errors.

    Attributes
    ----------
    hidden
        ``z_1 … z_{L-1}``.
    reach
        ``K``, of every sample.
    response
        ``P (I + P T P)⁻¹ P`` with ``T = K Kᵀ`` and ``Π = P²``.
    """

    hidden: Hidden
    reach: Float[Array, "*R N d_L hidden"]
    response: Float[Array, "*R N d_L d_L"]


def _prepared(
    network: NetworkSpec, parameters: Parameters, at: tuple[Batch, Hidden]
) -> _Equilibrium:
    def one(parameters: Parameters, at: tuple[Batch, Hidden]) -> _Equilibrium:
        batch, hidden = at
        if hidden:
            reach = jacobian_of_outputs(network, parameters, hidden)
        else:
            reach = jnp.zeros((*batch.y.shape, 0), batch.y.dtype)
        through = reach @ reach.swapaxes(-1, -2)

        def columns(unit: Array) -> Array:
            return output_force(through, jnp.broadcast_to(unit, batch.y.shape), batch.precision)

        units = jnp.eye(network.widths[-1], dtype=batch.y.dtype)
        return _Equilibrium(hidden, reach, jax.vmap(columns, out_axes=-1)(units))

    prepared: _Equilibrium = over_replicas(network, one, parameters, at)
    return prepared


_prepare = jax.jit(_prepared, static_argnums=0)


def _along(
    network: NetworkSpec,
    parameters: Parameters,
    batch: Batch,
    at: _Equilibrium,
    numbers: tuple[Number, ...],
    direction: Parameters,
) -> tuple[Parameters, Array]:
    def gradients(parameters: Parameters, hidden: Hidden) -> tuple[Parameters, Hidden]:
        both: tuple[Parameters, Hidden] = jax.grad(
            lambda p, z: energy(network, p, batch, z), argnums=(0, 1)
        )(parameters, hidden)
        return both

    # What is the same for all directions and steps is computed once, and the rest is linear.
    _, moved = jax.linearize(gradients, parameters, at.hidden)
    _, curve = jax.linearize(lambda z: gradients(parameters, z)[1], at.hidden)
    still = tuple(jnp.zeros_like(z) for z in at.hidden)
    product, pulled = moved(direction, still)
    if not at.hidden:
        return product, jnp.zeros((), batch.x.dtype)
    precondition = _gauss_newton_inverse(network, parameters, batch, at)
    right = tuple(-slope for slope in pulled)
    moves = _solve(curve, precondition, right, numbers[0])
    # What the recursion believes is left is less than what is.
    product, left = moved(direction, moves)
    return product, ratio(_dot(left, left), _dot(right, right)).max()


def _gauss_newton_inverse(
    network: NetworkSpec, parameters: Parameters, batch: Batch, at: _Equilibrium
) -> Callable[[Hidden], Hidden]:
    """Invert the part of ``𝓕_zz`` that leaves out how layers bend."""

    def activities(hidden_errors: Hidden) -> Hidden:
        z, hidden = batch.x, []
        for index, error in enumerate(hidden_errors):
            z = layer(network, index, parameters, z) + error
            hidden.append(z)
        return tuple(hidden)

    hidden_errors = errors(network, parameters, batch, at.hidden)[:-1]
    _, push = jax.linearize(activities, hidden_errors)
    _, pull = jax.vjp(activities, hidden_errors)
    borders = [sum(network.widths[1:end]) for end in range(2, network.n_layers)]

    def inverse(right: Hidden) -> Hidden:
        (back,) = pull(right)
        side = jnp.concatenate(back, axis=-1)
        force = jnp.einsum("nop,nph,nh->no", at.response, at.reach, side)
        moved = side - jnp.einsum("noh,no->nh", at.reach, force)
        scaled = tuple(len(batch.x) * part for part in jnp.split(moved, borders, axis=-1))
        moves: Hidden = push(scaled)  # 𝓕 has the 1/N that the sum of squares has not
        return moves

    return inverse


def _solve(
    curve: Callable[[Hidden], Hidden],
    precondition: Callable[[Hidden], Hidden],
    right: Hidden,
    wanted: Number,
) -> Hidden:
    """Solve every sample's system."""
    start = _dot(right, right)

    def unfinished(residual: Hidden) -> Array:
        return ratio(_dot(residual, residual), start) > wanted

    def going(state: tuple[Any, ...]) -> Array:
        step, _, residual, _, _ = state
        return (step < _MAX_STEPS) & unfinished(residual).any()

    def advance(state: tuple[Any, ...]) -> tuple[Any, ...]:
        step, solution, residual, direction, before = state
        steepest = precondition(residual)
        rho = _dot(residual, steepest)
        direction = _plus(steepest, _quotient(rho, before), direction)
        image = curve(direction)
        length = _quotient(rho, _dot(direction, image))
        length = jnp.where(unfinished(residual), length, 0)  # the others have arrived
        solution = _plus(solution, length, direction)
        return step + 1, solution, _plus(residual, -length, image), direction, rho

    none = tuple(jnp.zeros_like(part) for part in right)
    state = (jnp.zeros((), jnp.int32), none, right, none, jnp.zeros_like(start))
    solution: Hidden = lax.while_loop(going, advance, state)[1]
    return solution


def _dot(a: Hidden, b: Hidden) -> Float[Array, "N"]:
    """Inner products over all hidden layers, of every sample."""
    total: Array = sum((one * other).sum(-1) for one, other in zip(a, b, strict=True))
    return total


def _quotient(above: Float[Array, "N"], below: Float[Array, "N"]) -> Float[Array, "N"]:
    """Return 0 where nothing is left to turn, or to go."""
    return jnp.where(below == 0, 0, above / jnp.where(below == 0, 1, below))


def _plus(a: Hidden, factor: Float[Array, "N"], b: Hidden) -> Hidden:
    return tuple(one + factor[:, None] * other for one, other in zip(a, b, strict=True))
