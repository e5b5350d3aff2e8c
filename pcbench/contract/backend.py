"""The contract between pcbench and a backend.

A backend is what is judged. It builds a *model* from a :class:`NetworkSpec` and NumPy weights, and
answers questions about it: prediction, loss, energy, equilibrium activities, gradients. It never
sees the theory that its answers are held against.

Arrays live where the backend wants them (``Array`` below: a torch tensor, a JAX array, a NumPy
array). ``to_device`` and ``to_host`` are the only two doors, so that a batch is staged once and an
accelerator is never made to copy in a hot loop.

Shapes: a batch is ``(N, d_0)`` inputs and ``(N, d_L)`` targets, one sample a row; weight ``l`` is
``(d_l, d_{l-1})``. A backend that declares ``Capability.REPLICAS`` also takes weights with one
leading axis ``(R, d_l, d_{l-1})``; every answer then has that axis first.

Parameters are one sequence: the weights ``W_1 … W_L``, then, where the network has biases,
``b_1 … b_L``, ``(d_l,)`` each; gradients come in the same order. Activities are always flat, also
between convolutions, ``(N, d_l)``.

Normalisation, everywhere: ``𝓛 = 1/(2N) Σ_n ‖y - ŷ‖²`` and ``𝓕 = 1/(2N) Σ_n Σ_l ‖z_l -
f_l(z_{l-1})‖²``. A ``precision`` ``(N, d_L)`` weights the squared errors of the outputs, entry by
entry, in both; where it is 0 the target counts for nothing, whatever stands there, NaN included.
It is given only to backends that declare ``Capability.PRECISION``.

Conduct, which ``suites/conformance.yaml`` looks at:

* On a CPU the same question has the same answer, to the last bit, also of a model that is built
  anew; elsewhere to rounding.
* Nothing that is given is changed: host arrays, staged arrays, activities. ``build`` and
  ``to_device`` make copies; what a caller then writes into its own arrays reaches neither.
* All arithmetic is done in the backend's dtype, and every answer is a number of that dtype.
* A batch has at least one sample. Of none, ``predict`` gives none, ``(0, d_L)``; whatever is a mean
  over samples is refused with an exception, or is NaN: never a number.
* NaN or infinity in a parameter or a batch is refused with an exception, or shows in everything
  that depends on it: in loss, energies and residual, in some entry of a gradient, and in
  ``converged``, which is then false. It never shows in predictions of samples that do not have it.
  In a saturating activation infinity may vanish, as it does on paper.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from jaxtyping import Float

from pcbench.contract.model import BackendUnavailableError, Model
from pcbench.contract.training import Trainer, TrainingSettings
from pcbench.networks import NetworkSpec

Array = TypeVar("Array")
DType = Literal["float32", "float64"]
HostArrays = Sequence[Float[np.ndarray, "..."]]


class Backend(ABC, Generic[Array]):
    """A library that computes, on one device, in one dtype.

    Subclass it, implement the abstract methods, declare what is optional in ``capabilities``, and
    name the class in the entry-point group ``pcbench.backends``.
    """

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, device: str = "cpu", dtype: DType = "float64") -> None:
        self.device = device
        self.dtype: DType = dtype

    @abstractmethod
    def build(self, network: NetworkSpec, parameters: HostArrays) -> Model[Array]:
        """Make a model; the parameters are copied, cast to the backend's dtype and staged."""

    def trainer(
        self,
        model: Model[Array],
        x: Array,
        y: Array,
        settings: TrainingSettings,
        precision: Array | None = None,
    ) -> Trainer[Array]:
        """Begin to train a copy of a network on these data. Needs ``Capability.TRAINING``.

        Predictive coding infers as :meth:`Model.infer` does with the same settings: from the same
        start, by the same steps, as many, so that a step can be compared with where inference ends.

        Parameters
        ----------
        model
            One of this backend's own models; it stays as it is.
        x, y, precision
            All samples that batches are chosen from, shared by all replicas.
        settings
            By which rule it learns.

        Raises
        ------
        BackendUnavailableError
            If the engine asked for cannot treat this network, or there is no training.
        """
        raise BackendUnavailableError(f"{type(self).__name__} offers no training")

    @abstractmethod
    def to_device(self, array: Float[np.ndarray, "..."]) -> Array:
        """Stage a copy of a host array on the device, cast to the backend's dtype."""

    @abstractmethod
    def to_host(self, array: Array) -> Float[np.ndarray, "..."]:
        """Bring an array back as float64, value for value.

        It may be the array's own memory: to be read, not written.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Library versions, device, threads and matrix precision, for the report.

        Under ``device`` stands where arrays live, as the library calls it: a name with ``cpu`` or
        ``host`` in it, with ``cuda``, ``gpu`` or ``rocm``, or with that of another kind, as
        ``device`` has it.
        """

    @classmethod
    def devices(cls) -> list[str]:
        """Name the devices that can be had here, as ``device`` takes them; the CPU unless said."""
        return ["cpu"]

    def ran_out_of_memory(self, error: Exception) -> bool:
        """Tell whether an error that the backend raised means that its device has no room left."""
        return isinstance(error, MemoryError)

    def synchronize(self) -> None:
        """Wait until everything asked for has been computed. Timings call it."""

    def peak_memory(self) -> int | None:
        """Bytes of accelerator memory at the peak since the last call; ``None`` if unknown."""
        return None
