"""Activations in JAX that JAX has not, or has otherwise than the contract."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
from jax import Array

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
