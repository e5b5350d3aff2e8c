"""Devices, dtypes and matrix precision of the PyTorch backend."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float

from pcbench.backends.torch.layers import make_layers
from pcbench.backends.torch.model import LayeredModel
from pcbench.backends.torch.training import TorchTrainer
from pcbench.contract import Backend, BackendUnavailableError, Capability, DType, TrainingSettings
from pcbench.contract.backend import HostArrays
from pcbench.networks import NetworkSpec

# What errors say, of the CPU, of CUDA and Metal, and of the libraries of CUDA.
_NO_ROOM = ("can't allocate memory", "out of memory", "ALLOC_FAILED")

TF32 = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"


class TorchBackend(Backend[torch.Tensor]):
    """PyTorch on one device.

    Matrix products are done in full precision: TF32 is switched off, unless PyTorch's own variable
    ``TORCH_ALLOW_TF32_CUBLAS_OVERRIDE`` is 1. The report says which; tolerances stay float32's, so
    that checks show what TF32 costs. Devices are ``cpu``, ``cuda``, ``cuda:1`` or ``mps``, dtypes
    ``float32`` or ``float64``.

    Raises
    ------
    BackendUnavailableError
        If there is no such device, or it cannot compute in that dtype.
    """

    name: ClassVar[str] = "torch"
    capabilities: ClassVar[frozenset[str]] = frozenset(Capability)

    def __init__(self, device: str = "cpu", dtype: DType = "float64") -> None:
        super().__init__(device, dtype)
        self._device = _device(device)
        if self._device.type == "mps" and dtype == "float64":
            raise BackendUnavailableError(
                "the device 'mps' has no float64; use --dtype float32, or --device cpu"
            )
        self._dtype = {"float32": torch.float32, "float64": torch.float64}[dtype]
        tf32 = os.environ.get(TF32) == "1"
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32  # convolutions have a switch of their own

    def build(self, network: NetworkSpec, parameters: HostArrays) -> LayeredModel:
        """Make a model; the parameters are copied, cast to the backend's dtype and staged."""
        staged = [self.to_device(parameter) for parameter in parameters]
        return LayeredModel(make_layers(network, staged), network.is_linear)

    def trainer(
        self,
        model: Any,
        x: torch.Tensor,
        y: torch.Tensor,
        settings: TrainingSettings,
        precision: torch.Tensor | None = None,
    ) -> TorchTrainer:
        """Begin to train a copy of one of this backend's networks."""
        return TorchTrainer(model, x, y, settings, precision)

    def to_device(self, array: Float[np.ndarray, "..."]) -> torch.Tensor:
        """Stage a host array on the device, cast to the backend's dtype."""
        # A copy, always, and in C order: the caller's array may be a view, of any strides. The
        # dtype is changed on the host, for not every device knows float64.
        return torch.from_numpy(np.array(array, order="C")).to(self._dtype).to(self._device)

    def to_host(self, array: torch.Tensor) -> Float[np.ndarray, "..."]:
        """Bring an array back as float64."""
        return array.detach().cpu().to(torch.float64).numpy()

    @classmethod
    def devices(cls) -> list[str]:
        """Name the CPU, every CUDA device, and Metal."""
        cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]

    def ran_out_of_memory(self, error: Exception) -> bool:
        """Tell whether an allocation failed; mostly PyTorch has no type of error for that."""
        return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
            isinstance(error, RuntimeError) and any(said in str(error) for said in _NO_ROOM)
        )

    def synchronize(self) -> None:
        """Wait for the device."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()

    def peak_memory(self) -> int | None:
        """Bytes of CUDA memory at the peak since the last call; ``None`` elsewhere."""
        if self._device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        return peak

    def describe(self) -> dict[str, Any]:
        """Library versions, device, threads and matrix precision, for the report."""
        name = (
            torch.cuda.get_device_name(self._device)
            if self._device.type == "cuda"
            else self._device.type
        )
        return {
            "torch": torch.__version__,
            "device": str(self._device),
            "device_name": name,
            "cuda": torch.version.cuda,
            "threads": torch.get_num_threads(),
            "wait_policy": os.environ.get("OMP_WAIT_POLICY"),
            "spin_count": os.environ.get("GOMP_SPINCOUNT"),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "tf32_convolutions": torch.backends.cudnn.allow_tf32,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        }


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BackendUnavailableError(
            f"{name!r} is not a device; use cpu, cuda, cuda:1 or mps"
        ) from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            have = f"this machine has {count}" if count else "this machine has no CUDA device"
            raise BackendUnavailableError(f"no device {name!r}: {have}; use --device cpu")
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise BackendUnavailableError(
                "no device 'mps': this machine has no Metal GPU; use --device cpu"
            )
    elif device.type != "cpu":
        raise BackendUnavailableError(
            f"the torch backend runs on cpu, cuda and mps, not on {device.type!r}"
        )
    return device
