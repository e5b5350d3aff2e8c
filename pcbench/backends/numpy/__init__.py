"""The NumPy backend: the reference that every other backend is compared with.

Slow and obvious, and on other roads than those backends and the judge: the equilibrium of a linear
network by writing down the block-tridiagonal curvature of all hidden activities and solving with it
directly, that of any other network by Gauss-Newton steps with the same matrix, sample by sample;
convolutions as the matrices that they are; replicas one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import scipy
import threadpoolctl
from jaxtyping import Float

from pcbench.backends.numpy.layers import make_layers
from pcbench.backends.numpy.model import NumpyModel, Replicas
from pcbench.backends.numpy.training import NumpyTrainer
from pcbench.contract.backend import Backend, DType
from pcbench.contract.model import BackendUnavailableError, Model
from pcbench.contract.parts import Capability
from pcbench.contract.training import Trainer, TrainingSettings
from pcbench.networks import NetworkSpec

__all__ = ["NumpyBackend"]


Array = Float[np.ndarray, "..."]


class NumpyBackend(Backend[Array]):
    """What other backends are compared with: slow, and obviously right. In float64, on the CPU."""

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
        """Begin to train a copy of one of this backend's networks."""
        return NumpyTrainer(model, x, y, settings, precision)

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
