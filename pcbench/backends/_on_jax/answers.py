"""What backends on JAX share once JAX is there: activations, residuals, and waiting for answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, partial, wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from pcbench.contract.model import Inference
from pcbench.networks import LEAK, activation

Phi = Callable[[Array], Array]


def leaky_relu(a: Array) -> Array:
    """``a`` above 0, and ``LEAK a`` elsewhere, with the slope of its left side at 0.

    JAX's own, ``jax.nn.leaky_relu``, has the slope 1 at 0.
    """
    return jnp.where(a <= 0, LEAK * a, a)


@cache
def from_table(name: str) -> Phi:
    """Return an activation of the table, with the derivatives that its row has."""
    row = activation(name)
    slope = _with_derivative(partial(row.slope, jnp), partial(row.curvature, jnp))
    return _with_derivative(partial(row.value, jnp), slope)


def _with_derivative(function: Phi, derivative: Phi) -> Phi:
    known: Phi = jax.custom_jvp(function)
    known.defjvps(lambda tangent, _, a: derivative(a) * tangent)  # type: ignore[attr-defined]
    return known


Squares = Float[jax.Array, " N"]
"""``‖∂(N𝓕)/∂z‖²`` of every sample."""


def squared_norms(
    slopes: Sequence[Float[jax.Array, "N _d"]], like: Float[jax.Array, "N _d"]
) -> Squares:
    """Add up the squares of the forces on all hidden units of every sample."""
    total = jnp.zeros_like(like[:, 0])
    for slope in slopes:
        total = total + jnp.sum(slope**2, axis=-1)
    return total


def relative(squares: Any, start: Any) -> Any:
    """Return the norms in units of those at the start; absolute where these are zero."""
    return jnp.sqrt(squares / jnp.where(start > 0, start, 1))


def unfinished(squares: Squares, start: Squares, asked: Any) -> Any:
    """Whether the residual is above what is asked for; not where it is not finite."""
    residual = relative(squares.sum(), start.sum())
    return (residual > asked) & (residual < jnp.inf)


def close(
    activities: Sequence[Float[jax.Array, "N _d"]],
    energies: Float[jax.Array, " L"],
    steps: int,
    squares: Squares,
    start: Squares,
    asked: float,
    path: Float[jax.Array, "steps L"] | None = None,
) -> Inference[jax.Array]:
    """Return where inference ended, from the squared forces there and at the start."""
    residual = relative(squares.sum(), start.sum())
    return Inference(
        activities=list(activities),
        energies=energies,
        steps=steps,
        residual=residual,
        converged=bool((residual <= asked) & jnp.isfinite(energies).all()),
        sample_residuals=relative(squares, start),
        path=path,
    )


Question = ParamSpec("Question")
Answer = TypeVar("Answer")


def settled(ask: Callable[Question, Answer]) -> Callable[Question, Answer]:
    """Wait for the arrays of an answer: JAX returns before it has computed, and hides the time."""

    @wraps(ask)
    def waiting(*args: Question.args, **kwargs: Question.kwargs) -> Answer:
        answer = ask(*args, **kwargs)
        arrays = (
            [getattr(answer, field.name) for field in fields(answer)]
            if is_dataclass(answer)
            else answer
        )
        jax.block_until_ready(arrays)
        return answer

    return waiting
