"""What backends that compute on JAX share."""

from pcbench.backends._on_jax.backend import OnJax
from pcbench.backends._on_jax.programs import make_room

__all__ = ["OnJax", "make_room"]
