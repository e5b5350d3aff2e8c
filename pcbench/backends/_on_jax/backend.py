"""Device, dtype and matrix precision of a library on JAX.

JAX keeps all three per process; a suite may want several. So they are set around every call of a
library, and put back after it (:meth:`OnJax.computing`): nothing else in the process notices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from pcbench.backends._on_jax.x64 import x64
from pcbench.contract.backend import Backend, DType
from pcbench.contract.model import BackendUnavailableError
from pcbench.networks import NetworkSpec


class OnJax(Backend[Any]):
    """A library on JAX, found where it is installed.

    Raises
    ------
    BackendUnavailableError
        If the library cannot be imported, or there is no such device.
    """

    title: ClassVar[str]
    """What the library calls itself."""
    module: ClassVar[str]
    """What is imported."""
    remedy: ClassVar[str]
    """How to get it."""
    packages: ClassVar[tuple[str, ...]]
    """Whose versions a report keeps."""

    def __init__(self, device: str = "cpu", dtype: DType = "float64") -> None:
        super().__init__(device, dtype)
        try:
            for module in ("jax", self.module):
                import_module(module)
        except Exception as error:  # of a release of JAX that it does not fit, anything
            raise BackendUnavailableError(
                f"{self.title} cannot be imported ({error}); {self.remedy}"
            ) from error
        self._device = _device(device, self.title)

    def _describe_limits(self, network: NetworkSpec) -> str | None:
        """Return why the library cannot have this network; unless said, nothing."""

    def check(self, network: NetworkSpec, parameters: Sequence[Float[np.ndarray, "..."]]) -> None:
        """Refuse what the library cannot have.

        Raises
        ------
        BackendUnavailableError
            With the reason.
        """
        reason = self._describe_limits(network)
        if network.convolutions:
            reason = "has no convolutions between flat activities; leave network.convolutions out"
        elif parameters[0].ndim > len(network.shapes[0]):
            reason = "has no replicas; build a model for each"
        if reason is not None:
            raise BackendUnavailableError(f"{self.title} {reason}")

    @contextmanager
    def computing(self, precision: object = None) -> Iterator[None]:
        """Compute on the backend's device, in its dtype, with products in full precision.

        Raises
        ------
        BackendUnavailableError
            If outputs have a precision: it would be passed over in silence.
        """
        import jax

        if precision is not None:
            raise BackendUnavailableError(f"{self.title} has no precision for each output")
        with (
            x64(self.dtype == "float64"),
            jax.default_matmul_precision("highest"),  # no TF32
            jax.default_device(self._device),
        ):
            yield

    def to_device(self, array: Float[np.ndarray, "..."]) -> Any:
        """Stage a host array on the device, cast to the backend's dtype."""
        import jax

        with self.computing():
            return jax.device_put(np.array(array, self.dtype), self._device)

    def to_host(self, array: Any) -> Float[np.ndarray, "..."]:
        """Bring an array back as float64."""
        return np.asarray(array).astype(np.float64)

    @classmethod
    def devices(cls) -> list[str]:
        """Name the devices that JAX has here; the CPU alone where there is no JAX."""
        try:
            import jax

            gpus = len(jax.devices("gpu"))
        except (ImportError, RuntimeError):
            gpus = 0
        return ["cpu", *(f"cuda:{index}" for index in range(gpus))]

    def ran_out_of_memory(self, error: Exception) -> bool:
        """Tell whether an error means that the device has no room left, as XLA puts it."""
        told = isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
        return told or isinstance(error, MemoryError)

    def describe(self) -> dict[str, Any]:
        """Library versions, device and matrix precision, for the report."""
        return {
            **{package: version(package) for package in self.packages},
            "device": str(self._device),
            "device_name": self._device.device_kind,
            "matmul_precision": "highest",
        }


def _device(name: str, title: str) -> Any:
    """Return JAX's device of that name: a kind, and a number where there are several."""
    import jax

    kind, _, index = name.partition(":")
    if kind not in ("cpu", "gpu", "cuda", "rocm", "tpu") or (index and not index.isdecimal()):
        raise BackendUnavailableError(
            f"no device {name!r}: {title} runs on cpu, gpu, cuda and, of several, cuda:1"
        )
    try:
        devices = jax.devices(kind)
    except RuntimeError as error:
        raise BackendUnavailableError(
            f"no device {name!r}: JAX finds no {'TPU' if kind == 'tpu' else 'GPU'} here; use "
            "--device cpu, or install 'jax[cuda12]' on a machine that has one"
        ) from error
    if int(index or 0) >= len(devices):
        raise BackendUnavailableError(
            f"no device {name!r}: JAX finds {len(devices)} of that kind; count from 0"
        )
    return devices[int(index or 0)]
