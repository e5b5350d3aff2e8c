"""Correct backends with a mistake put in, through the contract alone.

A :class:`FaultyBackend` builds :class:`FaultyModel` s around the models of a correct backend. Both
pass every question on and the answer back; a fault overrides what its mistake is in. What a fault
has to compute it computes in NumPy, on the host: it works around any backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from pcbench.contract import Backend, Model, Trainer
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


def bound(method: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a question by their names.

    Raises
    ------
    TypeError
        If there are too many, too few, or others.
    """
    names = QUESTIONS[method]
    given = dict(zip(names, arguments, strict=False))
    missing = {*names} - OPTIONAL - {*given, *named}
    if len(arguments) > len(names) or missing or {*named} - ({*names} - {*given}):
        asked = ", ".join([f"{len(arguments)} by place", *named])
        raise TypeError(f"{method} takes {', '.join(names)}; it was given {asked}")
    return given | dict(named)


def put_question(
    model: Model[Any], backend: Backend[Any], method: str, arguments: Mapping[str, Any]
) -> Any:
    """Put a question to a model, which the backend has built; trainers are the backend's."""
    required = [arguments[name] for name in QUESTIONS[method] if name not in OPTIONAL]
    optional = {name: arguments[name] for name in OPTIONAL if arguments.get(name) is not None}
    if method == "trainer":
        return backend.trainer(model, *required, **optional)
    return getattr(model, method)(*required, **optional)


def _asks(method: str) -> Any:
    """Return the method of a model that passes its question on."""

    def asked(model: FaultyModel, *arguments: Any, **named: Any) -> Any:
        return model.ask(method, bound(method, arguments, named))

    return asked


def _passes_on(method: str) -> Any:
    """Return the method of a backend that leaves its task to the correct one."""

    def passed(backend: FaultyBackend, *arguments: Any) -> Any:
        return getattr(backend.inner, method)(*arguments)

    return passed


class FaultyModel(Model[Any]):
    """A model with a mistake; as it stands, with none.

    Subclass it, say the mistake in the first sentence of the docstring, name the part of the
    contract that it corrupts, and override the method that it is in. The correct model is
    ``inner``, which the correct ``backend`` has built from a ``network`` and ``parameters`` on the
    host; the ``memory`` is kept for as long as the backend is, for mistakes that remember what they
    should not.
    """

    part: ClassVar[Part]
    needs: ClassVar[frozenset[str]] = frozenset()  # to be in use for the mistake to be made at all

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

    def device(self, array: Any) -> Any:
        """Stage an array."""
        return self.backend.to_device(np.asarray(array, np.float64))

    def changed(self, array: Any, change: Callable[[Host], Any]) -> Any:
        """Return an array with a change that is made on the host."""
        return self.device(change(self.host(array)))

    def ask(self, method: str, arguments: Mapping[str, Any]) -> Any:
        """Put a question to the correct model: what is not overridden passes through here."""
        return put_question(self.inner, self.backend, method, arguments)

    predict = _asks("predict")
    loss = _asks("loss")
    loss_gradients = _asks("loss_gradients")
    infer = _asks("infer")
    energies = _asks("energies")
    energy_gradients = _asks("energy_gradients")
    loss_hessian = _asks("loss_hessian")
    energy_hessian = _asks("energy_hessian")
    unrolled_hessian = _asks("unrolled_hessian")
    trainer = _asks("trainer")


class FaultyBackend(Backend[Any]):
    """A backend whose models have a mistake, or that has one itself; as it stands, with none.

    It wraps the correct backend, ``inner``; its models are of the class ``models``.
    """

    part: ClassVar[Part]
    needs: ClassVar[frozenset[str]] = frozenset()  # to be in use for the mistake to be made at all

    def __init__(self, inner: Backend[Any], models: type[FaultyModel] = FaultyModel) -> None:
        super().__init__(inner.device, inner.dtype)
        self.inner, self._models = inner, models
        self.memory: dict[str, Any] = {}

    @property
    def name(self) -> str:  # type: ignore[override]
        """The correct backend's."""
        return self.inner.name

    @property
    def capabilities(self) -> frozenset[str]:  # type: ignore[override]
        """The correct backend's, unless the mistake is to declare others."""
        return self.inner.capabilities

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Build the correct model, and put the mistake of its class around it."""
        inner = self.inner.build(network, parameters)
        return self._models(inner, self.inner, network, parameters, self.memory)

    def trainer(self, model: Any, *question: Any, **named: Any) -> Trainer[Any]:
        """Ask the model, which may have the mistake."""
        begun: Trainer[Any] = model.trainer(*question, **named)
        return begun

    to_device = _passes_on("to_device")
    to_host = _passes_on("to_host")
    describe = _passes_on("describe")
    ran_out_of_memory = _passes_on("ran_out_of_memory")
    synchronize = _passes_on("synchronize")
    peak_memory = _passes_on("peak_memory")
