"""What the JAX backend is: its name, its capabilities, its device."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import jax

from pcbench.backends._on_jax import FULL_PRECISION, OnJax, make_room
from pcbench.backends.jax.model import JaxModel, check_engine
from pcbench.backends.jax.network import Batch
from pcbench.backends.jax.training import JaxTrainer
from pcbench.contract import Capability, DType, TrainingSettings
from pcbench.contract.backend import HostArrays
from pcbench.networks import NetworkSpec


class JaxBackend(OnJax):
    """JAX on one device.

    Every function is compiled once for a network, a shape and a dtype, at its first call. Matrix
    products are done in full precision, unless JAX's own variable ``JAX_DEFAULT_MATMUL_PRECISION``
    asks for another; the report says which.
    """

    name: ClassVar[str] = "jax"
    capabilities: ClassVar[frozenset[str]] = frozenset(Capability) - {Capability.ODE_INFERENCE}
    title: ClassVar[str] = "the jax backend"
    module: ClassVar[str] = "jax"
    remedy: ClassVar[str] = "install pcbench with its extra 'jax'"
    packages: ClassVar[tuple[str, ...]] = ("jax", "jaxlib")

    def __init__(self, device: str = "cpu", dtype: DType = "float64") -> None:
        super().__init__(device, dtype)
        self.matrix_precision = jax.config.jax_default_matmul_precision or FULL_PRECISION
        self._peak = 0

    def build(self, network: NetworkSpec, parameters: HostArrays) -> JaxModel:
        """Make a model; the parameters are copied, cast to the backend's dtype and staged."""
        make_room(network)
        return JaxModel(network, [self.to_device(array) for array in parameters], self)

    def trainer(
        self,
        model: Any,
        x: jax.Array,
        y: jax.Array,
        settings: TrainingSettings,
        precision: jax.Array | None = None,
    ) -> JaxTrainer:
        """Begin to train a copy of one of this backend's networks."""
        if settings.objective == "energy":
            check_engine(model.network, settings.inference)
        copy = JaxModel(model.network, model.parameters, self)
        return JaxTrainer(copy, Batch(x, y, precision), settings)

    def peak_memory(self) -> int | None:
        """Bytes of GPU memory at the peak since the last call; ``None`` if it was before that.

        JAX knows the peak of the process alone: a peak that is no higher than at the last call was
        before it.
        """
        if self._device.platform == "cpu":
            return None
        before = self._peak
        self._peak = (self._device.memory_stats() or {}).get("peak_bytes_in_use", 0)
        return self._peak if self._peak > before else None

    def describe(self) -> dict[str, Any]:
        """Library versions, device, threads and matrix precision, for the report."""
        return {
            **super().describe(),
            "platform_version": self._device.client.platform_version,
            "x64": self.dtype == "float64",
            "xla_flags": os.environ.get("XLA_FLAGS"),
            "preallocate": os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE"),
            "cores": os.cpu_count(),
        }
