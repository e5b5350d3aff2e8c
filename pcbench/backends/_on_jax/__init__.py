"""What backends that compute on JAX share."""

import os

from pcbench.backends._on_jax.backend import OnJax
from pcbench.backends._on_jax.programs import make_room

__all__ = ["OnJax", "make_room"]

# Before JAX first touches a GPU, of which it would take three quarters at once: whoever else
# computes there, PyTorch in the next case or another process, would find it full.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
