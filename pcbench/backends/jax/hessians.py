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
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg
from jaxtyping import Float

from pcbench.backends._on_jax import OnJax
from pcbench.backends._on_jax.answers import relative, squared_norms
from pcbench.backends.jax.engines import borders, jacobian_of_outputs
from pcbench.backends.jax.exact import output_force
from pcbench.backends.jax.network import (
    Batch,
    Number,
    Parameters,
    Rows,
    energy,
    errors,
    loss_and_gradients,
    over_replicas,
    roll_out,
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
        _, in_shape = ravel_pytree(parameters)

        def one(vector: Array) -> tuple[Array, Array]:
            asked = (parameters, batch, prepared, numbers)
            moved, left = product(network, asked, in_shape(vector))
            return ravel_pytree(moved)[0], left

        together = jax.vmap(one)
        moved: tuple[Array, Array] = (
            together(vectors) if len(vectors) <= block else lax.map(one, vectors, batch_size=block)
        )
        return moved

    products, residuals = over_replicas(network, replica, parameters, batch, prepared, vectors)
    return products, residuals.max()


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

            start = roll_out(network, parameters, batch.x, [0.0] * network.n_hidden)
            hidden, _ = lax.scan(descend, start, None, length=self.steps)
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

    # What is the same for all directions and steps is computed once, and the rest is linear.
    _, moved = jax.linearize(lambda p, z: _slopes(network, p, batch, z), parameters, at.hidden)
    still = tuple(jnp.zeros_like(z) for z in at.hidden)
    product, pulled = moved(direction, still)
    if not at.hidden:
        return product, jnp.zeros((), batch.x.dtype)
    right = jax.tree.map(lambda slope: -slope, pulled)
    # A batch of one sample each; 𝓕 of all of them has 1/N of a sample's curvature.
    alone = jax.tree.map(lambda rows: rows[:, None], (batch, at, right))

    def moves_of(batch: Batch, at: _Equilibrium, right: Hidden) -> Hidden:
        # JAX's recursion squares norms, and divides by them where they have come to nothing.
        size = jnp.sqrt(squared_norms(right, like=batch.y)).max()
        size = jnp.where(size > 0, size, 1)
        right = jax.tree.map(lambda rows: rows / size, right)
        least = jnp.finfo(batch.y.dtype).eps ** 2
        _, curve = jax.linearize(lambda z: _slopes(network, parameters, batch, z)[1], at.hidden)
        inverse = _gauss_newton_inverse(network, parameters, batch, at)
        tol = jnp.maximum(wanted, least)
        moves = cg(curve, right, tol=tol, maxiter=_MAX_STEPS, M=inverse)[0]
        scaled: Hidden = jax.tree.map(lambda rows: size * rows, moves)
        return scaled

    moves = jax.tree.map(lambda rows: len(rows) * rows[:, 0], jax.vmap(moves_of)(*alone))
    # What the recursion believes is left is less than what is.
    product, left = moved(direction, moves)
    squares, start = (squared_norms(rows, like=batch.y) for rows in (left, right))
    return product, relative(squares, start).max()


def _slopes(
    network: NetworkSpec, parameters: Parameters, batch: Batch, hidden: Hidden
) -> tuple[Parameters, Hidden]:
    """Differentiate ``𝓕`` in the parameters, and in the hidden activities."""
    both: tuple[Parameters, Hidden] = jax.grad(energy, argnums=(1, 3))(
        network, parameters, batch, hidden
    )
    return both


def _gauss_newton_inverse(
    network: NetworkSpec, parameters: Parameters, batch: Batch, at: _Equilibrium
) -> Callable[[Hidden], Hidden]:
    """Invert the part of ``𝓕_zz`` that leaves out how layers bend, for a batch of one sample."""
    activities = partial(roll_out, network, parameters, batch.x)
    hidden_errors = errors(network, parameters, batch, at.hidden)[:-1]
    _, push = jax.linearize(activities, hidden_errors)
    _, pull = jax.vjp(activities, hidden_errors)

    def inverse(right: Hidden) -> Hidden:
        (back,) = pull(right)
        side = jnp.concatenate(back, axis=-1)
        force = jnp.einsum("nop,nph,nh->no", at.response, at.reach, side)
        moved = side - jnp.einsum("noh,no->nh", at.reach, force)
        moves: Hidden = push(tuple(jnp.split(moved, borders(network), axis=-1)))
        return moves

    return inverse
