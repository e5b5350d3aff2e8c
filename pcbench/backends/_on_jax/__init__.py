"""What backends that compute on JAX share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from pkgutil import resolve_name
from typing import Any, ClassVar, TypeVar

import numpy as np
from jaxtyping import Float

from pcbench.contract import Backend, BackendUnavailableError, DType, Model
from pcbench.contract.backend import HostArrays
from pcbench.networks import NetworkSpec

__all__ = ["OnJax", "make_room"]

# Before JAX first touches a GPU, of which it would take three quarters at once: whoever else
# computes there, PyTorch in the next case or another process, would find it full.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


Answer = TypeVar("Answer")

FULL_PRECISION = "highest"
"""Products in the precision of their dtype: left to itself JAX rounds float32 to TF32 on GPUs."""


def x64(enabled: bool) -> Any:
    """Return the surroundings in which JAX knows float64, or does not."""
    import jax

    if hasattr(jax, "enable_x64"):  # its place from JAX 0.8 on
        return jax.enable_x64(enabled)
    from jax.experimental import enable_x64

    return enable_x64(enabled)


# JAX forgets no compiled program by itself, and each holds regions of mapped memory: a thousand for
# all that may be asked of one network. Linux lets a process have 65,530, and when JAX asks for one
# more the process ends. A few hundred networks, in a suite that asks about many, are enough.
NETWORKS = 16
"""Of how many networks programs are kept; few suites go back and forth between more."""

_kept: set[NetworkSpec] = set()


def make_room(network: NetworkSpec) -> None:
    """Forget the programs of other networks, if there are many, before one more is built.

    What is asked of them again is compiled again.
    """
    import jax

    _kept.add(network)
    if len(_kept) > NETWORKS:
        jax.clear_caches()
        _kept.clear()
        _kept.add(network)


class OnJax(Backend[Any]):
    """A library on JAX, found where it is installed.

    JAX keeps device, dtype and matrix precision per process; a suite may want several. So they are
    set around every call of a library, and put back after it: nothing else in the process notices,
    such as an adapter to a library that was written for float32. Whoever computes with answers in
    float64 outside of that has float32 again, or brings them to the host.
    """

    title: ClassVar[str]
    """What the library calls itself."""
    module: ClassVar[str]
    """What is imported."""
    remedy: ClassVar[str]
    """How to get it."""
    model: ClassVar[str]
    """``module:Class`` of its models, imported once the library is there."""
    needs_hidden: ClassVar[bool] = False
    """Whether it takes networks with a hidden layer only."""
    packages: ClassVar[tuple[str, ...]]
    """Whose versions a report keeps."""

    matrix_precision: str = FULL_PRECISION
    _unfinished: Any = None

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

    def build(self, network: NetworkSpec, parameters: HostArrays) -> Model[Any]:
        """Make a model; the parameters are copied, cast to the backend's dtype and staged."""
        self.check(network, parameters)
        make_room(network)
        staged = [self.to_device(array) for array in parameters]
        model: Model[Any] = resolve_name(self.model)(network, staged, self.run)
        return model

    def check(self, network: NetworkSpec, parameters: HostArrays) -> None:
        """Refuse what the library cannot have."""
        reason = None
        if self.needs_hidden and not network.n_hidden:
            reason = "takes networks with a hidden layer only"
        if network.convolutions:
            reason = "has no convolutions between flat activities; leave network.convolutions out"
        elif parameters[0].ndim > len(network.shapes[0]):
            reason = "has no replicas; build a model for each"
        if reason is not None:
            raise BackendUnavailableError(f"{self.title} {reason}")

    @contextmanager
    def computing(self, precision: object = None) -> Iterator[None]:
        """Compute on the backend's device, in its dtype, with products in its precision.

        A precision of the outputs is refused: it would be passed over in silence.
        """
        import jax

        if precision is not None:
            raise BackendUnavailableError(f"{self.title} has no precision for each output")
        with (
            x64(self.dtype == "float64"),
            jax.default_matmul_precision(self.matrix_precision),
            jax.default_device(self._device),
        ):
            yield

    def run(
        self, function: Callable[..., Answer], *arguments: Any, precision: object = None
    ) -> Answer:
        """Call a function of JAX arrays, as :meth:`computing` says.

        On a CPU it has finished when this returns: there JAX would compute behind the caller's
        back, with no order kept among what it has begun, and nothing could be timed. A GPU works
        off what it is given in order, so that whoever waits for the last answer has all of them.
        """
        import jax

        with self.computing(precision):
            answer = function(*arguments)
            if self._device.platform == "cpu":
                jax.block_until_ready(answer)
            else:
                self._unfinished = answer
        return answer

    def to_device(self, array: Float[np.ndarray, "..."]) -> Any:
        """Stage a host array on the device, cast to the backend's dtype."""
        import jax

        # A copy, for JAX may go on reading the host's array where the device is the CPU.
        return self.run(jax.device_put, np.array(array, self.dtype, order="C"), self._device)

    def to_host(self, array: Any) -> Float[np.ndarray, "..."]:
        """Bring an array back as float64: a copy, which may be written to."""
        return np.array(array, np.float64)

    def synchronize(self) -> None:
        """Wait for the device."""
        import jax

        jax.block_until_ready(self._unfinished)
        self._unfinished = None

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
            "matmul_precision": self.matrix_precision,
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
