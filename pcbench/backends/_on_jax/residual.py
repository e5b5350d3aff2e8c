"""How far inference has come, from a library's own forces ``∂(N𝓕)/∂z``; once JAX is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from pcbench.contract.model import Inference

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
    """Return where inference ended.

    Parameters
    ----------
    activities, energies, steps, path
        As the contract has them.
    squares, start
        The forces there, and at the feedforward activities.
    asked
        The relative residual that was to be reached.
    """
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
