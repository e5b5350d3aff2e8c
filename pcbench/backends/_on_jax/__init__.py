"""What the adapters to libraries that compute on JAX share."""

from pcbench.backends._on_jax.backend import OnJax

__all__ = ["OnJax"]
