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

from pcbench.backends.jax.engines.gauss_newton import jacobian_of_outputs
from pcbench.backends.jax.engines.output import output_force
from pcbench.backends.jax.hessians.products import JaxHessian
from pcbench.backends.jax.network import Parameters, layer, over_replicas
from pcbench.backends.jax.objectives import Batch, energy, errors
from pcbench.backends.jax.runtime import Runtime
from pcbench.networks import NetworkSpec

Hidden = tuple[Float[Array, "N _d"], ...]

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
        wanted = residual or _EPSILONS * float(jnp.finfo(batch.x.dtype).eps)
        prepared = runtime.run(_prepare, network, parameters, (batch, hidden))
        super().__init__(_along, network, parameters, batch, runtime, prepared, (wanted,))


class _Equilibrium(NamedTuple):
    """The activities, and how their errors reach the output."""

    hidden: Hidden
    reach: Float[Array, "N d_L hidden"]


def _prepared(
    network: NetworkSpec, parameters: Parameters, at: tuple[Batch, Hidden]
) -> _Equilibrium:
    def one(parameters: Parameters, at: tuple[Batch, Hidden]) -> _Equilibrium:
        batch, hidden = at
        if not hidden:
            return _Equilibrium((), jnp.zeros((*batch.y.shape, 0), batch.y.dtype))
        return _Equilibrium(hidden, jacobian_of_outputs(network, parameters, hidden))

    prepared: _Equilibrium = over_replicas(network, one, parameters, at)
    return prepared


_prepare = jax.jit(_prepared, static_argnums=0)


def _along(
    network: NetworkSpec,
    parameters: Parameters,
    batch: Batch,
    at: _Equilibrium,
    numbers: tuple[float, ...],
    direction: Parameters,
) -> tuple[Parameters, Array]:
    def gradients(parameters: Parameters, hidden: Hidden) -> tuple[Parameters, Hidden]:
        both: tuple[Parameters, Hidden] = jax.grad(
            lambda p, z: energy(network, p, batch, z), argnums=(0, 1)
        )(parameters, hidden)
        return both

    def curve(moves: Hidden) -> Hidden:
        """``𝓕_zz`` times moves of the hidden activities."""
        slopes: Hidden = jax.jvp(lambda z: gradients(parameters, z)[1], (at.hidden,), (moves,))[1]
        return slopes

    _, (straight, pulled) = jax.jvp(lambda p: gradients(p, at.hidden), (parameters,), (direction,))
    if not at.hidden:
        return straight, jnp.zeros((), batch.x.dtype)
    precondition = _gauss_newton_inverse(network, parameters, batch, at)
    moves, left = _solve(curve, precondition, tuple(-slope for slope in pulled), numbers[0])
    _, by_moves = jax.jvp(lambda z: gradients(parameters, z)[0], (at.hidden,), (moves,))
    return tuple(a + b for a, b in zip(straight, by_moves, strict=True)), left


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
    through = at.reach @ at.reach.swapaxes(-1, -2)
    borders = [sum(network.widths[1:end]) for end in range(2, network.n_layers)]

    def inverse(right: Hidden) -> Hidden:
        (back,) = pull(right)
        side = jnp.concatenate(back, axis=-1)
        reached = jnp.einsum("noh,nh->no", at.reach, side)
        force = output_force(through, reached, batch.precision)
        moved = side - jnp.einsum("noh,no->nh", at.reach, force)
        scaled = tuple(len(batch.x) * part for part in jnp.split(moved, borders, axis=-1))
        moves: Hidden = push(scaled)  # 𝓕 has the 1/N that the sum of squares has not
        return moves

    return inverse


def _solve(
    curve: Callable[[Hidden], Hidden],
    precondition: Callable[[Hidden], Hidden],
    right: Hidden,
    wanted: float,
) -> tuple[Hidden, Float[Array, ""]]:
    """Solve every sample's system; return the worst relative residual with the solution."""
    start = _dot(right, right)

    def relative(residual: Hidden) -> Array:
        squares = _dot(residual, residual)
        return jnp.sqrt(jnp.where(start > 0, squares / jnp.where(start > 0, start, 1), squares))

    def going(state: tuple[Any, ...]) -> Array:
        step, _, residual, _, _ = state
        return (step < _MAX_STEPS) & (relative(residual) > wanted).any()

    def advance(state: tuple[Any, ...]) -> tuple[Any, ...]:
        step, solution, residual, direction, before = state
        steepest = precondition(residual)
        rho = _dot(residual, steepest)
        direction = _plus(steepest, _ratio(rho, before), direction)
        image = curve(direction)
        length = _ratio(rho, _dot(direction, image))
        length = jnp.where(relative(residual) > wanted, length, 0)  # the others have arrived
        solution = _plus(solution, length, direction)
        return step + 1, solution, _plus(residual, -length, image), direction, rho

    solution = precondition(right)
    residual = _plus(right, -jnp.ones_like(start), curve(solution))
    none = tuple(jnp.zeros_like(part) for part in right)
    state = (jnp.zeros((), jnp.int32), solution, residual, none, jnp.zeros_like(start))
    _, solution, *_ = lax.while_loop(going, advance, state)
    # What the recursion believes is left is less than what is.
    return solution, relative(_plus(right, -jnp.ones_like(start), curve(solution))).max()


def _dot(a: Hidden, b: Hidden) -> Float[Array, "N"]:
    """Inner products over all hidden layers, of every sample."""
    total: Array = sum((one * other).sum(-1) for one, other in zip(a, b, strict=True))
    return total


def _ratio(above: Float[Array, "N"], below: Float[Array, "N"]) -> Float[Array, "N"]:
    """Return 0 where nothing is left to turn, or to go."""
    return jnp.where(below == 0, 0, above / jnp.where(below == 0, 1, below))


def _plus(a: Hidden, factor: Float[Array, "N"], b: Hidden) -> Hidden:
    return tuple(one + factor[:, None] * other for one, other in zip(a, b, strict=True))
