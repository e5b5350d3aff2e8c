"""Questions put to a backend about a network and a batch, and its answers on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from itertools import zip_longest
from typing import Any

import numpy as np
from jaxtyping import Float

from pcbench.case import CaseSkippedError, Omission
from pcbench.contract import Backend, Capability, Inference, InferenceSettings, Model
from pcbench.judges.problem import Problem
from pcbench.networks import NetworkParameters

Array = Float[np.ndarray, "..."]

NEVER = 1e-300
"""A residual that no engine reaches: it takes all the steps that it is given."""


def needs(
    network: NetworkParameters, engines: dict[str, InferenceSettings], *, masked: bool = False
) -> frozenset[str]:
    """Return what a backend must offer for a network and engines, and unobserved outputs."""
    needed: set[str] = {settings.capability for settings in engines.values()}
    if masked:
        needed.add(Capability.PRECISION)
    if network.convolutions:
        needed.add(Capability.CONVOLUTIONS)
    if network.activation != "identity" or network.bias:
        needed.add(Capability.NONLINEAR)
    return frozenset(needed)


def training_needs(
    network: NetworkParameters, inference: InferenceSettings, *, masked: bool = False
) -> frozenset[str]:
    """Return what it takes to train replicas of a network by PC with this inference, and by BP."""
    return needs(network, {"PC": inference}, masked=masked) | {
        Capability.TRAINING,
        Capability.REPLICAS,
    }


def engines_of(
    backend: Backend[Any], engines: dict[str, InferenceSettings]
) -> tuple[dict[str, InferenceSettings], list[Omission]]:
    """Return the engines that a backend offers, and an omission for each other; skip if none."""
    offered = {
        label: settings
        for label, settings in engines.items()
        if settings.capability in backend.capabilities
    }
    lacking = {
        label: f"the backend {backend.name!r} does not offer {settings.capability}"
        for label, settings in engines.items()
        if label not in offered
    }
    if not offered:
        missing = ", ".join(sorted({settings.capability for settings in engines.values()}))
        raise CaseSkippedError(f"the backend {backend.name!r} does not offer {missing}")
    return offered, [Omission(f"engine {label}", reason) for label, reason in lacking.items()]


_ARRAYS = ("energies", "residual", "sample_residuals", "path")
"""Fields of an inference result that are arrays, beside the activities."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class InferenceResult(Inference[Array]):
    """An answer to ``infer``, brought to the host.

    Two answers are the same only if they are one object, so that what is known of one can be kept.
    """

    __eq__, __hash__ = object.__eq__, object.__hash__

    @classmethod
    def of(cls, backend: Backend[Any], reached: Inference[Any]) -> InferenceResult:
        """Bring an answer to the host, with the replica axis that it may have."""
        parts = {field.name: getattr(reached, field.name) for field in fields(Inference)}
        for name in _ARRAYS:
            parts[name] = None if parts[name] is None else backend.to_host(parts[name])
        parts["activities"] = [
            None if z is None else backend.to_host(z) for z in reached.activities
        ]
        return cls(**parts)

    def each(self, one: Callable[[Any], Any]) -> InferenceResult:
        """Return the answer with a function applied to every array, ``None`` included."""
        arrays = {name: one(getattr(self, name)) for name in _ARRAYS}
        return replace(self, activities=[one(z) for z in self.activities], **arrays)

    def replica(self, index: int, count: int) -> InferenceResult:
        """Return the answer of one of ``count`` replicas."""
        return self.each(partial(of_replica, index=index, count=count))

    @property
    def hidden(self) -> Float[np.ndarray, "N n_hidden"]:
        """``z_1 … z_{L-1}``, side by side."""
        return np.concatenate([self.activities[0][:, :0], *self.activities[1:-1]], axis=1)

    @property
    def energy(self) -> float:
        """The energy that inference says it reached."""
        return float(self.energies.sum())

    def first(self, samples: int) -> InferenceResult:
        """Return the first samples alone; energies and residual stay those of the whole batch."""
        return replace(self, activities=[activity[:samples] for activity in self.activities])


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model says of a batch, and of activities; with an axis of replicas, if it has one."""

    prediction: Array
    loss: Array
    loss_gradients: list[Array]
    energies: Array
    energy_gradients: list[Array]

    def replica(self, index: int, count: int) -> Evaluation:
        """Return the answers of one of ``count`` replicas."""
        one = partial(of_replica, index=index, count=count)
        parts = [getattr(self, field.name) for field in fields(self)]
        ours: list[Any] = [[*map(one, p)] if isinstance(p, list) else one(p) for p in parts]
        return Evaluation(*ours)

    def due(self, problem: Problem) -> list[tuple[Array | None, tuple[int, ...] | None]]:
        """Return every array with the shape that it is due to have."""
        shapes = [parameter.shape for parameter in problem.parameters]
        return [
            (self.prediction, problem.y.shape),
            (self.loss, ()),
            (self.energies, (problem.network.n_layers,)),
            *zip_longest(self.loss_gradients, shapes),
            *zip_longest(self.energy_gradients, shapes),
        ]

    @property
    def arrays(self) -> list[Array]:
        """All arrays, in the order of the fields."""
        gradients = self.loss_gradients, self.energy_gradients
        return [self.prediction, self.loss, *gradients[0], self.energies, *gradients[1]]


def of_replica(array: Any, index: int, count: int) -> Any:
    """Return a replica's part; an answer without that axis stays, and is then told as malformed."""
    if array is None or array.shape[:1] != (count,):
        return array
    return array[index, ...]  # of a number an array, too


class Subject:
    """Puts questions about one problem to a backend, at its parameters or at others.

    A precision is only mentioned where there is one: backends without that capability need not know
    the word. ``stage`` and ``host`` bring an array to the device and back; ``precision`` is a list
    of one array, or of none.
    """

    def __init__(
        self, backend: Backend[Any], problem: Problem, parameters: Sequence[Array] | None = None
    ) -> None:
        self.backend, self.problem = backend, problem
        self.stage, self.host = backend.to_device, backend.to_host
        self.precision = [] if problem.precision is None else [problem.precision]
        self._parameters = problem.parameters if parameters is None else list(parameters)

    @cached_property
    def model(self) -> Model[Any]:
        """The model."""
        return self.backend.build(self.problem.network, self._parameters)

    @cached_property
    def batch(self) -> list[Any]:
        """Inputs, targets and, where there is one, the precision, on the device."""
        return [self.stage(part) for part in (self.problem.x, self.problem.y, *self.precision)]

    def predict(self, x: Array) -> Array:
        """``ŷ`` of other inputs."""
        return self.host(self.model.predict(self.stage(x)))

    def loss(self) -> Array:
        """``𝓛``."""
        return self.host(self.model.loss(*self.batch))

    def loss_gradients(self) -> list[Array]:
        """``∂𝓛/∂θ``."""
        return [self.host(gradient) for gradient in self.model.loss_gradients(*self.batch)]

    def energies(self, activities: Sequence[Array]) -> Array:
        """Energy of each layer at activities."""
        return self.host(self.model.energies(*self._staged(activities)))

    def energy_gradients(self, activities: Sequence[Array]) -> list[Array]:
        """``∂𝓕/∂θ`` at activities."""
        gradients = self.model.energy_gradients(*self._staged(activities))
        return [self.host(gradient) for gradient in gradients]

    def _staged(self, activities: Sequence[Array]) -> tuple[Any, ...]:
        return [self.stage(z) for z in activities], *map(self.stage, self.precision)

    def relax(self, settings: InferenceSettings) -> Inference[Any]:
        """Where inference ends, on the device."""
        x, y, *precision = self.batch
        return self.model.infer(x, y, settings, *precision)

    def infer(self, settings: InferenceSettings) -> InferenceResult:
        """Where inference ends."""
        return InferenceResult.of(self.backend, self.relax(settings))

    def evaluate(self, activities: Sequence[Array]) -> Evaluation:
        """Ask everything that every backend has to know."""
        return Evaluation(
            self.predict(self.problem.x),
            self.loss(),
            self.loss_gradients(),
            self.energies(activities),
            self.energy_gradients(activities),
        )
