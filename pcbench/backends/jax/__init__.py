"""The JAX backend: pure functions of a pytree of parameters, compiled once a shape, CPU or GPU."""

import os

from pcbench.backends.base import BackendUnavailableError

# Before JAX first touches a GPU, of which it would take three quarters at once: whoever else
# computes there, PyTorch in the next case or another process, would find it full.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

try:
    import jax as _jax  # noqa: F401 - only whether it is there
except ImportError as error:
    raise BackendUnavailableError(
        f"the jax backend needs JAX ({error}); pip install 'pcbench[jax]'"
    ) from error

from pcbench.backends.jax.backend import JaxBackend
from pcbench.backends.jax.model import JaxModel

__all__ = ["JaxBackend", "JaxModel"]
