"""The reference backend: NumPy and SciPy, in float64, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import scipy
import threadpoolctl
from jaxtyping import Float

from pcbench.backends.numpy.model import NumpyModel
from pcbench.backends.numpy.network import make_layers
from pcbench.backends.numpy.replicas import Replicas, ReplicaTrainer
from pcbench.backends.numpy.training import NumpyTrainer
from pcbench.contract.backend import Backend, DType
from pcbench.contract.capability import Capability
from pcbench.contract.model import BackendUnavailableError, Model
from pcbench.contract.training import Trainer, TrainingSettings
from pcbench.networks import NetworkSpec

Array = Float[np.ndarray, "..."]


class NumpyBackend(Backend[Array]):
    """What other backends are compared with: slow, and obviously right.

    Parameters
    ----------
    device
        ``cpu``.
    dtype
        ``float64``.

    Raises
    ------
    BackendUnavailableError
        If anything else is asked for.
    """

    name: ClassVar[str] = "numpy"
    capabilities: ClassVar[frozenset[str]] = frozenset(Capability)
    model: ClassVar[type[NumpyModel]] = NumpyModel

    def __init__(self, device: str = "cpu", dtype: DType = "float64") -> None:
        super().__init__(device, dtype)
        if device != "cpu":
            raise BackendUnavailableError(
                f"the numpy backend runs on the CPU alone, not on {device!r}; use --device cpu"
            )
        if dtype != "float64":
            raise BackendUnavailableError(
                f"the numpy backend is a reference in float64, and computes nothing in {dtype}; "
                "use --dtype float64"
            )

    def build(self, network: NetworkSpec, parameters: Sequence[Array]) -> Model[Array]:
        """Make a model; the parameters are copied."""
        copies = [self.to_device(parameter) for parameter in parameters]
        if copies[0].ndim == len(network.shapes[0]):
            return self.model(make_layers(network, copies))
        return Replicas(
            [self.model(make_layers(network, list(own))) for own in zip(*copies, strict=True)]
        )

    def trainer(
        self,
        model: Any,
        x: Array,
        y: Array,
        settings: TrainingSettings,
        precision: Array | None = None,
    ) -> Trainer[Array]:
        """Begin to train a copy of one of this backend's networks.

        Raises
        ------
        BackendUnavailableError
            If exact inference is asked of a network with activations or pooling.
        """
        kind = ReplicaTrainer if isinstance(model, Replicas) else NumpyTrainer
        return kind(model, x, y, settings, precision)

    def to_device(self, array: Array) -> Array:
        """Copy, in C order and in float64."""
        return np.array(array, np.float64, order="C")

    def to_host(self, array: Array | float) -> Array:
        """Copy: what the caller does with it changes nothing here.

        A number, too: that is what NumPy makes of arrays without axes, once they are reckoned with.
        """
        return np.array(array, np.float64)

    def describe(self) -> dict[str, Any]:
        """Library versions, and the linear algebra behind them with its threads."""
        libraries = threadpoolctl.threadpool_info()
        return {
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "device": "cpu",
            "blas": sorted(
                f"{library['internal_api']} {library['version']}, {library['num_threads']} threads"
                for library in libraries
                if library["user_api"] == "blas"
            ),
        }
