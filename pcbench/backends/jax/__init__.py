"""The JAX backend: pure functions of a pytree of parameters, compiled once a shape, CPU or GPU."""

from pcbench.contract.model import BackendUnavailableError

try:
    import jax as _jax  # noqa: F401 - only whether it is there
except ImportError as error:
    raise BackendUnavailableError(
        f"the jax backend needs JAX ({error}); pip install 'pcbench[jax]'"
    ) from error

from pcbench.backends.jax.backend import JaxBackend
from pcbench.backends.jax.model import JaxModel

__all__ = ["JaxBackend", "JaxModel"]
