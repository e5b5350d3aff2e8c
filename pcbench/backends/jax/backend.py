"""What the JAX backend is: its name, its capabilities, its device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Float

from pcbench.backends._on_jax import OnJax, make_room
from pcbench.backends.jax.model import JaxModel, check_engine
from pcbench.backends.jax.objectives import Batch
from pcbench.backends.jax.runtime import Runtime
from pcbench.backends.jax.training.trainer import JaxTrainer
from pcbench.contract.backend import DType
from pcbench.contract.capability import Capability
from pcbench.contract.training import TrainingSettings
from pcbench.networks import NetworkSpec


class JaxBackend(OnJax):
    """JAX on one device.

    Every function is compiled once for a network, a shape and a dtype, at its first call. Matrix
    products are done in full precision, unless JAX's own variable ``JAX_DEFAULT_MATMUL_PRECISION``
    asks for another; the report says which.

    Parameters
    ----------
    device
        ``cpu``, ``gpu``, ``cuda``, ``cuda:1``.
    dtype
        ``float32`` or ``float64``.

    Raises
    ------
    BackendUnavailableError
        If there is no such device.
    """

    name: ClassVar[str] = "jax"
    capabilities: ClassVar[frozenset[str]] = frozenset(Capability) - {Capability.ODE_INFERENCE}
    title: ClassVar[str] = "the jax backend"
    module: ClassVar[str] = "jax"
    remedy: ClassVar[str] = "install pcbench with its extra 'jax'"
    packages: ClassVar[tuple[str, ...]] = ("jax", "jaxlib")

    def __init__(self, device: str = "cpu", dtype: DType = "float64") -> None:
        super().__init__(device, dtype)
        self._runtime = Runtime(self._device, dtype)

    def build(
        self, network: NetworkSpec, parameters: Sequence[Float[np.ndarray, "..."]]
    ) -> JaxModel:
        """Make a model; the parameters are copied, cast to the backend's dtype and staged."""
        make_room(network)
        return JaxModel(network, [self.to_device(array) for array in parameters], self._runtime)

    def trainer(
        self,
        model: Any,
        x: jax.Array,
        y: jax.Array,
        settings: TrainingSettings,
        precision: jax.Array | None = None,
    ) -> JaxTrainer:
        """Begin to train a copy of one of this backend's networks.

        Raises
        ------
        BackendUnavailableError
            If inference cannot treat this network.
        """
        if settings.objective == "energy":
            check_engine(model.network, settings.inference)
        copy = JaxModel(model.network, model.parameters, self._runtime)
        return JaxTrainer(copy, Batch(x, y, precision), settings)

    def to_device(self, array: Float[np.ndarray, "..."]) -> jax.Array:
        """Stage a host array on the device, cast to the backend's dtype."""
        return self._runtime.stage(array)

    def to_host(self, array: jax.Array) -> Float[np.ndarray, "..."]:
        """Bring an array back as float64: a copy, which may be written to."""
        return np.array(array, np.float64)

    def synchronize(self) -> None:
        """Wait for the device."""
        self._runtime.wait()

    def peak_memory(self) -> int | None:
        """Bytes of GPU memory at the peak since the last call; ``None`` if it was before that."""
        return None if self._runtime.device.platform == "cpu" else self._runtime.peak_memory()

    def describe(self) -> dict[str, Any]:
        """Library versions, device, threads and matrix precision, for the report."""
        device = self._runtime.device
        return {
            **super().describe(),
            "platform_version": device.client.platform_version,
            "x64": self.dtype == "float64",
            "matmul_precision": self._runtime.matrix_precision,
            "xla_flags": os.environ.get("XLA_FLAGS"),
            "preallocate": os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE"),
            "cores": os.cpu_count(),
        }
