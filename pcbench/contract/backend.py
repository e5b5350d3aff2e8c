"""The contract between pcbench and whoever computes.

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
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from jaxtyping import Float

from pcbench.contract.inference import InferenceSettings
from pcbench.contract.training import Trainer, TrainingSettings
from pcbench.errors import UsageError
from pcbench.networks import NetworkSpec

Array = TypeVar("Array")
DType = Literal["float32", "float64"]


class BackendUnavailableError(UsageError):
    """The backend, device or dtype cannot be had here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Inference(Generic[Array]):
    """Where inference ended.

    Replicas have answers of their own, and energies, residuals and path a leading axis ``R``. Each
    goes as it would alone and stays where it would have ended, while the others go on; but ``ode``
    may have one step size for all, and go on with all of them until the last has arrived.

    Attributes
    ----------
    activities
        ``z_0 … z_L``, each ``(N, d_l)``. The first is the input. The last is the output activity
        as the engine left it: whether that is the clamped target is for a check to find out.
    energies
        Energy of each layer, ``1/(2N) Σ_n ‖e_l‖²`` for ``l = 1 … L`` with the output clamped to the
        target; shape ``(L,)``. Their sum is the energy that inference reached.
    steps
        Steps that an iterative engine took; 0 for an exact one. Of an adaptive one, those that it
        accepted; of replicas, those of the one that took most.
    residual
        ``‖∂(N𝓕)/∂z‖`` over all hidden activities of all samples, relative to its value at the
        feedforward activities (absolute where that value is 0); shape ``()``.
    converged
        Whether the residual asked for was reached within the budget, in every replica: by the whole
        batch, or, by engines that treat samples one by one (``gauss_newton``), by every sample.
        Never where a residual or an energy is not finite.
    passes
        What it cost: how often the batch went through all weights, forward or backward. A sweep of
        ``d_L`` vectors a sample counts ``d_L`` times; ``None`` if unknown.
    sample_residuals
        The same residual of each sample by itself, ``(N,)``; ``None`` if unknown.
    path
        Where ``record`` was asked for: ``energies`` at the start and after every step,
        ``(steps + 1, L)``.
    """

    activities: Sequence[Array]
    energies: Array
    steps: int
    residual: Array
    converged: bool
    passes: float | None = None
    sample_residuals: Array | None = None
    path: Array | None = None


class Hessian(ABC, Generic[Array]):
    """The Hessian of an objective at the parameters of a model, by its products with vectors.

    Attributes
    ----------
    residual
        The largest relative residual ``‖𝓕_zz δz + 𝓕_zθ v‖ / ‖𝓕_zθ v‖``, of a sample and a vector,
        that the inner systems (theory.md 3.1) were left with in products so far; 0 where there is
        no such system, or a closed form solves it.
    """

    residual: float

    @abstractmethod
    def product(self, vectors: Array) -> Array:
        """Multiply vectors.

        Parameters
        ----------
        vectors
            ``(K, P)``: a vector a row, over all ``P`` parameters in their order, each row-major.

        Returns
        -------
        Array
            ``(K, P)``, the products, a row each.
        """


class Model(ABC, Generic[Array]):
    """A network with weights, on a device. All arrays in and out are the backend's own."""

    @abstractmethod
    def predict(self, x: Array) -> Array:
        """Feedforward prediction ``ŷ``, ``(N, d_L)``."""

    @abstractmethod
    def loss(self, x: Array, y: Array, precision: Array | None = None) -> Array:
        """``𝓛 = 1/(2N) Σ_n ‖y - ŷ‖²``, shape ``()``."""

    @abstractmethod
    def loss_gradients(self, x: Array, y: Array, precision: Array | None = None) -> Sequence[Array]:
        """``∂𝓛/∂W_l`` for ``l = 1 … L``, each ``(d_l, d_{l-1})``; then ``∂𝓛/∂b_l``."""

    @abstractmethod
    def infer(
        self, x: Array, y: Array, settings: InferenceSettings, precision: Array | None = None
    ) -> Inference[Array]:
        """Relax the hidden activities with input and output clamped.

        Raises
        ------
        BackendUnavailableError
            If the engine asked for cannot treat this network.
        """

    @abstractmethod
    def energies(self, activities: Sequence[Array], precision: Array | None = None) -> Array:
        """Energy of each layer at the given activities ``z_0 … z_L``; shape ``(L,)``."""

    @abstractmethod
    def energy_gradients(
        self, activities: Sequence[Array], precision: Array | None = None
    ) -> Sequence[Array]:
        """``∂𝓕/∂W_l`` at the given activities, then ``∂𝓕/∂b_l``.

        Local: ``-(1/N) e_lᵀ z_{l-1}`` where linear.
        """

    def loss_hessian(self, x: Array, y: Array, precision: Array | None = None) -> Hessian[Array]:
        """``∇²𝓛`` on a batch. Needs ``Capability.HESSIAN``.

        Raises
        ------
        BackendUnavailableError
            If there is none.
        """
        raise BackendUnavailableError(f"{type(self).__name__} offers no Hessians")

    def energy_hessian(
        self,
        activities: Sequence[Array],
        precision: Array | None = None,
        residual: float | None = None,
    ) -> Hessian[Array]:
        """``∇²𝓕*``, with ``𝓕*(θ) = min_z 𝓕(θ, z)``. Needs ``Capability.HESSIAN``.

        By the implicit-function theorem (theory.md 3.1), at the equilibrium that is given.

        Parameters
        ----------
        activities
            ``z_0 … z_L`` at equilibrium, the last the target.
        precision
            Of the outputs.
        residual
            Relative residual that the inner systems are to be solved to; ``None`` for what the
            dtype allows.

        Raises
        ------
        BackendUnavailableError
            If there is none.
        """
        raise BackendUnavailableError(f"{type(self).__name__} offers no Hessians")

    def unrolled_hessian(self, x: Array, y: Array, steps: int, step: float) -> Hessian[Array]:
        """Hessian of the energy that ``steps`` steps of gradient inference reach.

        From the feedforward activities, ``z ← z - step · ∂(N𝓕)/∂z``; the activities count as what
        they are, functions of the parameters. Needs ``Capability.UNROLLED_HESSIAN``.

        Raises
        ------
        BackendUnavailableError
            If there is none.
        """
        raise BackendUnavailableError(f"{type(self).__name__} offers no unrolled Hessians")

    def trainer(
        self, x: Array, y: Array, settings: TrainingSettings, precision: Array | None = None
    ) -> Trainer[Array]:
        """Begin to train a copy of this network on these data. Needs ``Capability.TRAINING``.

        Predictive coding infers as :meth:`infer` does with the same settings: from the same start,
        by the same steps, as many, so that a step can be held against where inference ends.

        Parameters
        ----------
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
    def build(
        self, network: NetworkSpec, parameters: Sequence[Float[np.ndarray, "..."]]
    ) -> Model[Array]:
        """Make a model; the parameters are copied, cast to the backend's dtype and staged."""

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
