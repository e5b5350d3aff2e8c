"""The leaky rectifier of the contract, in JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from pcbench.networks import LEAK


def leaky_relu(a: Array) -> Array:
    """``a`` above 0, and ``LEAK a`` elsewhere, with the slope of its left side at 0.

    JAX's own, ``jax.nn.leaky_relu``, has the slope 1 at 0.
    """
    return jnp.where(a <= 0, LEAK * a, a)
