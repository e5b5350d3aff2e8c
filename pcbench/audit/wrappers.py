"""Correct backends with a mistake put in, through the contract alone.

A :class:`FaultyBackend` builds :class:`FaultyModel` s around the models of a correct backend. Both
pass every question on and the answer back; a fault overrides what its mistake is in. What a fault
has to compute it computes in NumPy, on the host: it works around any backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from pcbench.contract import (
    Backend,
    Hessian,
    Inference,
    InferenceSettings,
    Model,
    Trainer,
    TrainingSettings,
)
from pcbench.contract.parts import Part
from pcbench.networks import NetworkSpec

Host = Float[np.ndarray, "..."]

QUESTIONS: dict[str, tuple[str, ...]] = {
    "predict": ("x",),
    "loss": ("x", "y", "precision"),
    "loss_gradients": ("x", "y", "precision"),
    "infer": ("x", "y", "settings", "precision"),
    "energies": ("activities", "precision"),
    "energy_gradients": ("activities", "precision"),
    "loss_hessian": ("x", "y", "precision"),
    "energy_hessian": ("activities", "precision", "residual"),
    "unrolled_hessian": ("x", "y", "steps", "step"),
    "trainer": ("x", "y", "settings", "precision"),
}
"""What a model is asked, and the arguments of each question, in order."""
OPTIONAL = frozenset({"precision", "residual"})
"""Arguments that not every backend has to know of: passed on by name, where they are given."""


class FaultyModel(Model[Any]):
    """A model with a mistake; as it stands, with none.

    Subclass it, say the mistake in the first sentence of the docstring, name the part of the
    contract that it corrupts, and override the method that it is in.

    Parameters
    ----------
    inner
        The correct model.
    backend
        The correct backend that built it.
    network, parameters
        What it was built from, on the host.
    memory
        Kept for as long as the backend is: for mistakes that remember what they should not.
    """

    part: ClassVar[Part]
    needs: ClassVar[frozenset[str]] = frozenset()
    """Capabilities and traits that must be in use for the mistake to be made at all."""

    def __init__(
        self,
        inner: Model[Any],
        backend: Backend[Any],
        network: NetworkSpec,
        parameters: Sequence[Host],
        memory: dict[str, Any],
    ) -> None:
        self.inner, self.backend, self.network = inner, backend, network
        self.parameters, self.memory = list(parameters), memory

    @property
    def weights(self) -> list[Host]:
        """``W_1 … W_L`` on the host."""
        return self.parameters[: self.network.n_layers]

    @property
    def replicated(self) -> bool:
        """Whether parameters have the axis of replicas."""
        return self.parameters[0].ndim > len(self.network.shapes[0])

    def host(self, array: Any) -> Host:
        """Bring an array to the host."""
        return self.backend.to_host(array)

    def device(self, array: Host) -> Any:
        """Stage an array."""
        return self.backend.to_device(array)

    def changed(self, array: Any, change: Callable[[Host], Any]) -> Any:
        """Return an array with a change that is made on the host."""
        return self.device(np.asarray(change(self.host(array)), np.float64))

    def each_changed(self, arrays: Sequence[Any], change: Callable[[Host], Any]) -> list[Any]:
        """Return arrays, each with the same change."""
        return [self.changed(array, change) for array in arrays]

    def ask(self, method: str, *required: Any, **optional: Any) -> Any:
        """Put a question to the correct model: what is not overridden passes through here.

        Parameters
        ----------
        method
            Of the contract.
        required, optional
            Its arguments (:data:`QUESTIONS`), on the device; those of :data:`OPTIONAL` by name.
        """
        if method == "trainer":
            return self.backend.trainer(self.inner, *required, **given(**optional))
        return getattr(self.inner, method)(*required, **given(**optional))

    def predict(self, x: Any) -> Any:
        """Pass it on."""
        return self.ask("predict", x)

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Pass it on."""
        return self.ask("loss", x, y, precision=precision)

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Pass it on."""
        found: Sequence[Any] = self.ask("loss_gradients", x, y, precision=precision)
        return found

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Pass it on."""
        found: Inference[Any] = self.ask("infer", x, y, settings, precision=precision)
        return found

    def energies(self, activities: Sequence[Any], precision: Any = None) -> Any:
        """Pass it on."""
        return self.ask("energies", activities, precision=precision)

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Pass it on."""
        found: Sequence[Any] = self.ask("energy_gradients", activities, precision=precision)
        return found

    def loss_hessian(self, x: Any, y: Any, precision: Any = None) -> Hessian[Any]:
        """Pass it on."""
        found: Hessian[Any] = self.ask("loss_hessian", x, y, precision=precision)
        return found

    def energy_hessian(
        self, activities: Sequence[Any], precision: Any = None, residual: float | None = None
    ) -> Hessian[Any]:
        """Pass it on."""
        optional = {"precision": precision, "residual": residual}
        found: Hessian[Any] = self.ask("energy_hessian", activities, **optional)
        return found

    def unrolled_hessian(self, x: Any, y: Any, steps: int, step: float) -> Hessian[Any]:
        """Pass it on."""
        found: Hessian[Any] = self.ask("unrolled_hessian", x, y, steps, step)
        return found

    def trainer(
        self, x: Any, y: Any, settings: TrainingSettings, precision: Any = None
    ) -> Trainer[Any]:
        """Pass it on."""
        found: Trainer[Any] = self.ask("trainer", x, y, settings, precision=precision)
        return found


class FaultyBackend(Backend[Any]):
    """A backend whose models have a mistake, or that has one itself; as it stands, with none.

    Parameters
    ----------
    inner
        The correct backend.
    """

    part: ClassVar[Part]
    needs: ClassVar[frozenset[str]] = frozenset()
    """Capabilities and traits that must be in use for the mistake to be made at all."""

    def __init__(self, inner: Backend[Any]) -> None:
        super().__init__(inner.device, inner.dtype)
        self.inner = inner
        self.memory: dict[str, Any] = {}

    @property
    def name(self) -> str:  # type: ignore[override]
        """The correct backend's."""
        return self.inner.name

    @property
    def capabilities(self) -> frozenset[str]:  # type: ignore[override]
        """The correct backend's."""
        return self.inner.capabilities

    def model(self, network: NetworkSpec, parameters: Sequence[Host]) -> FaultyModel:
        """Build a model without mistakes, to put one in."""
        inner = self.inner.build(network, parameters)
        return FaultyModel(inner, self.inner, network, parameters, self.memory)

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Pass it on."""
        return self.model(network, parameters)

    def trainer(
        self, model: Any, x: Any, y: Any, settings: TrainingSettings, precision: Any = None
    ) -> Trainer[Any]:
        """Ask the model, which may have the mistake."""
        begun: Trainer[Any] = model.trainer(x, y, settings, **given(precision=precision))
        return begun

    def to_device(self, array: Host) -> Any:
        """Pass it on."""
        return self.inner.to_device(array)

    def to_host(self, array: Any) -> Host:
        """Pass it on."""
        return self.inner.to_host(array)

    def describe(self) -> dict[str, Any]:
        """Pass it on."""
        return self.inner.describe()

    def ran_out_of_memory(self, error: Exception) -> bool:
        """Pass it on."""
        return self.inner.ran_out_of_memory(error)

    def synchronize(self) -> None:
        """Pass it on."""
        self.inner.synchronize()

    def peak_memory(self) -> int | None:
        """Pass it on."""
        return self.inner.peak_memory()


def given(**optional: Any) -> dict[str, Any]:
    """Return the arguments that were given: not every backend has to know of the others."""
    return {name: value for name, value in optional.items() if value is not None}
