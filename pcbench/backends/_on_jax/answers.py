"""What backends on JAX share once JAX is there: activations, and what inference says of its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from pcbench.contract.model import Inference
from pcbench.networks import activation

Phi = Callable[[Array], Array]

# So that JAX waits for all of it, where it is asked to.
jax.tree_util.register_dataclass(Inference)


class Reached(NamedTuple):
    """Where inference ended, while it may be traced; :func:`on_host` makes an answer of it."""

    activities: list[Array]
    energies: Array
    steps: Any
    residual: Array
    converged: Array
    sample_residuals: Array
    path: Array | None


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


Rows = Float[Array, "*R N _d"]
Squares = Float[Array, "*R N"]
"""``‖∂(N𝓕)/∂z‖²`` of every sample."""


def squared_norms(rows: Sequence[Rows], like: Rows) -> Squares:
    """``‖·‖²`` over all layers, of every sample."""
    return sum(((part * part).sum(-1) for part in rows), jnp.zeros_like(like[..., 0]))


def relative(squares: Array, start: Array) -> Array:
    """Return the norms in units of those at the start; absolute where these are zero."""
    return jnp.sqrt(squares / jnp.where(start > 0, start, 1))


def residuals(squares: Squares, start: Squares) -> tuple[Squares, Float[Array, "*R"]]:
    """Relative residuals of samples, and of the batch."""
    return relative(squares, start), relative(squares.sum(-1), start.sum(-1))


def unfinished(squares: Squares, start: Squares, asked: Any, *, by_sample: bool = False) -> Array:
    """Whether a residual is above what is asked for; not where it is not finite."""
    samples, whole = residuals(squares, start)
    residual = samples if by_sample else whole
    return (residual > asked) & (residual < jnp.inf)


def ended(
    activities: Sequence[Rows],
    energies: Float[Array, "*R L"],
    steps: Any,
    squares: Squares,
    start: Squares,
    asked: Any,
    path: Float[Array, "*R T L"] | None = None,
    *,
    by_sample: bool = False,
) -> Reached:
    """Return where inference ended, from the squared forces there and at the start."""
    samples, whole = residuals(squares, start)
    arrived: Any = ((samples if by_sample else whole) <= asked).all()
    return Reached(
        activities=list(activities),
        energies=energies,
        steps=steps,
        residual=whole,
        converged=arrived & jnp.isfinite(energies).all(),
        sample_residuals=samples,
        path=path,
    )


def on_host(reached: Reached, passes: float | None = None) -> Inference[Array]:
    """Make numbers of steps and verdict, and cut off the path behind the last step."""
    steps, path = int(reached.steps), reached.path
    known = reached._asdict() | {
        "steps": steps,
        "converged": bool(reached.converged),
        "path": None if path is None else path[..., : steps + 1, :],
    }
    return Inference(**known, passes=passes)
