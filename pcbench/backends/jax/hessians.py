r"""Hessians of loss and energy, by their products with vectors: forward over reverse.

That of the equilibrated energy goes by the implicit-function theorem (theory.md 3.1),

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
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from pcbench.backends._on_jax import OnJax
from pcbench.backends.jax.engines import jacobian_of_outputs
from pcbench.backends.jax.exact import output_force, ratio
from pcbench.backends.jax.network import (
    Batch,
    Number,
    Parameters,
    Rows,
    energy,
    errors,
    layer,
    loss_and_gradients,
    over_replicas,
)
from pcbench.contract.model import Hessian
from pcbench.networks import NetworkSpec

# Vectors are multiplied in blocks whose largest intermediate stays near this many numbers.
_BLOCK_NUMBERS = 4_000_000

Vectors = Float[Array, "*R K P"]
Asked = tuple[Parameters, Batch, Any, tuple[Number, ...]]
"""What a product is of: every replica may have something prepared, and all of them numbers."""
Product = Callable[[NetworkSpec, Asked, Parameters], tuple[Parameters, Array]]
"""From a direction to its product, and the residual that an inner system was left with."""


class JaxHessian(Hessian[Array]):
    """Multiplies by a pure function of one direction, which is static: hashable, and compiled for.

    What it is asked of is only computed with.
    """

    def __init__(
        self, product: Product, network: NetworkSpec, asked: Asked, runtime: OnJax
    ) -> None:
        self.residual = 0.0
        self._product, self._runtime = product, runtime
        self._network, self._asked = network, asked
        parameters, batch, *_ = asked
        largest = max(network.n_parameters, batch.x.shape[-2] * max(network.widths))
        replicas = parameters[0].size // prod(network.shapes[0])
        self._block = max(1, _BLOCK_NUMBERS // (replicas * largest))

    def product(self, vectors: Vectors) -> Vectors:
        """Multiply every row, and take note of the worst residual."""
        if not vectors.shape[-2]:
            return vectors
        block = min(self._block, vectors.shape[-2])
        products, residual = self._runtime.run(
            _multiply, self._network, self._product, block, self._asked, vectors
        )
        left = float(residual)
        if not left <= self.residual:  # what is no number is worse than any
            self.residual = left
        return products


def _every_row(
    network: NetworkSpec, product: Product, block: int, asked: Asked, vectors: Vectors
) -> tuple[Vectors, Float[Array, ""]]:
    parameters, batch, prepared, numbers = asked

    def replica(
        parameters: Parameters, batch: Batch, prepared: Any, vectors: Array
    ) -> tuple[Array, Array]:
        def one(vector: Array) -> tuple[Array, Array]:
            direction = _split(network, vector)
            moved, left = product(network, (parameters, batch, prepared, numbers), direction)
            return jnp.concatenate([part.reshape(-1) for part in moved]), left

        together = jax.vmap(one)
        moved: tuple[Array, Array] = (
            together(vectors) if len(vectors) <= block else lax.map(one, vectors, batch_size=block)
        )
        return moved

    products, residuals = over_replicas(network, replica, parameters, batch, prepared, vectors)
    return products, residuals.max()


def _split(network: NetworkSpec, vector: Float[Array, "P"]) -> Parameters:
    """Take a vector over all parameters apart."""
    parts, at = [], 0
    for shape in (*network.shapes, *network.bias_shapes):
        parts.append(vector[at : at + prod(shape)].reshape(shape))
        at += prod(shape)
    return tuple(parts)


_multiply = jax.jit(_every_row, static_argnums=(0, 1, 2))


def loss_along(
    network: NetworkSpec, asked: Asked, direction: Parameters
) -> tuple[Parameters, Array]:
    """``∇²𝓛 v``."""
    parameters, batch, *_ = asked

    def gradients(parameters: Parameters) -> Parameters:
        return loss_and_gradients(network, parameters, batch)[1]

    _, moved = jax.jvp(gradients, (parameters,), (direction,))
    return moved, jnp.zeros((), batch.x.dtype)


@dataclass(frozen=True)
class UnrolledAlong:
    """Product with the Hessian of the energy after steps ``z ← z - step · ∂(N𝓕)/∂z``.

    The steps are a scan, which can be differentiated both ways.
    """

    steps: int

    def __call__(
        self, network: NetworkSpec, asked: Asked, direction: Parameters
    ) -> tuple[Parameters, Array]:
        """Multiply one direction."""
        parameters, batch, _, (step,) = asked

        def reached(parameters: Parameters) -> Array:
            def descend(hidden: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], None]:
                slopes = jax.grad(lambda z: energy(network, parameters, batch, z))(hidden)
                rate = step * len(batch.x)
                return tuple(z - rate * s for z, s in zip(hidden, slopes, strict=True)), None

            z, feedforward = batch.x, []
            for index in range(network.n_hidden):
                z = layer(network, index, parameters, z)
                feedforward.append(z)
            hidden, _ = lax.scan(descend, tuple(feedforward), None, length=self.steps)
            return energy(network, parameters, batch, hidden)

        _, moved = jax.jvp(jax.grad(reached), (parameters,), (direction,))
        return moved, jnp.zeros((), batch.x.dtype)


Hidden = tuple[Rows, ...]

# Steps of conjugate gradients, at most; and the residual asked for, in units of the dtype's
# epsilon: what rounding leaves of a system whose condition number is in the hundreds.
_MAX_STEPS = 200
_EPSILONS = 16.0


def energy_hessian(
    network: NetworkSpec,
    parameters: Parameters,
    batch: Batch,
    hidden: Hidden,
    residual: float | None,
    runtime: OnJax,
) -> JaxHessian:
    """``∇²𝓕*`` at equilibrium, its inner systems solved to ``residual``, by default to rounding."""
    if residual is None:
        residual = _EPSILONS * float(jnp.finfo(batch.x.dtype).eps)
    prepared = runtime.run(_prepare, network, parameters, (batch, hidden))
    return JaxHessian(_along, network, (parameters, batch, prepared, (residual,)), runtime)


class _Equilibrium(NamedTuple):
    """Activities, ``K`` of every sample, and ``P (I + P T P)⁻¹ P`` (``T = K Kᵀ``, ``Π = P²``)."""

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


def _along(network: NetworkSpec, asked: Asked, direction: Parameters) -> tuple[Parameters, Array]:
    parameters, batch, at, (wanted,) = asked

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
    moves = _solve(curve, precondition, right, wanted)
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
    return sum((one * other).sum(-1) for one, other in zip(a, b, strict=True))


def _quotient(above: Float[Array, "N"], below: Float[Array, "N"]) -> Float[Array, "N"]:
    """Return 0 where nothing is left to turn, or to go."""
    return jnp.where(below == 0, 0, above / jnp.where(below == 0, 1, below))


def _plus(a: Hidden, factor: Float[Array, "N"], b: Hidden) -> Hidden:
    return tuple(one + factor[:, None] * other for one, other in zip(a, b, strict=True))
