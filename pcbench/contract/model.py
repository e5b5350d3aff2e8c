"""A network as a backend answers for it: predictions, inference, gradients and Hessians."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pcbench.contract.inference import InferenceSettings
from pcbench.errors import UsageError

Array = TypeVar("Array")


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
        """``∇²𝓛`` on a batch. Needs ``Capability.HESSIAN``."""
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
        """
        raise BackendUnavailableError(f"{type(self).__name__} offers no Hessians")

    def unrolled_hessian(self, x: Array, y: Array, steps: int, step: float) -> Hessian[Array]:
        """Hessian of the energy that ``steps`` steps of gradient inference reach.

        From the feedforward activities, ``z ← z - step · ∂(N𝓕)/∂z``; the activities count as what
        they are, functions of the parameters. Needs ``Capability.UNROLLED_HESSIAN``.
        """
        raise BackendUnavailableError(f"{type(self).__name__} offers no unrolled Hessians")


def check_batch(x: Any) -> None:
    """Refuse a batch whose derivatives would be sums over nothing: zeros, as at a minimum.

    Raises
    ------
    ValueError
        If it has no samples.
    """
    if x.shape[-2] == 0:
        raise ValueError("a mean over no samples is no number; give a batch of at least one")
