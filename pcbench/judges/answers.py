"""Questions put to a backend about a network and a batch, and its answers on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class InferenceResult:
    """An answer to ``infer``, brought to the host; see :class:`pcbench.contract.Inference`.

    Two answers are the same only if they are one object, so that what is known of one can be kept.
    """

    activities: list[Float[np.ndarray, "..."]]
    energies: Float[np.ndarray, "..."]
    residual: Float[np.ndarray, "..."]
    steps: int
    converged: bool
    passes: float | None
    sample_residuals: Float[np.ndarray, "..."] | None
    path: Float[np.ndarray, "..."] | None

    @classmethod
    def of(cls, backend: Backend[Any], reached: Inference[Any]) -> InferenceResult:
        """Bring an answer to the host, with the replica axis that it may have."""

        def host(array: Any) -> Any:
            return None if array is None else backend.to_host(array)

        return cls(
            [host(activity) for activity in reached.activities],
            host(reached.energies),
            host(reached.residual),
            reached.steps,
            reached.converged,
            reached.passes,
            host(reached.sample_residuals),
            host(reached.path),
        )

    def each(self, one: Callable[[Any], Any]) -> InferenceResult:
        """Return the answer with a function applied to every array, ``None`` included."""
        return replace(
            self,
            activities=[one(activity) for activity in self.activities],
            energies=one(self.energies),
            residual=one(self.residual),
            sample_residuals=one(self.sample_residuals),
            path=one(self.path),
        )

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
        return Evaluation(
            one(self.prediction),
            one(self.loss),
            [one(gradient) for gradient in self.loss_gradients],
            one(self.energies),
            [one(gradient) for gradient in self.energy_gradients],
        )

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
    the word.
    """

    def __init__(
        self, backend: Backend[Any], problem: Problem, parameters: Sequence[Array] | None = None
    ) -> None:
        self.backend, self.problem = backend, problem
        self._parameters = problem.parameters if parameters is None else list(parameters)

    @cached_property
    def model(self) -> Model[Any]:
        """The model."""
        return self.backend.build(self.problem.network, self._parameters)

    @cached_property
    def batch(self) -> list[Any]:
        """Inputs, targets and, where there is one, the precision, on the device."""
        return [self.stage(part) for part in (self.problem.x, self.problem.y, *self.precision)]

    @property
    def precision(self) -> list[Array]:
        """The precision, where there is one."""
        return [] if self.problem.precision is None else [self.problem.precision]

    def stage(self, array: Array) -> Any:
        """Bring an array to the device."""
        return self.backend.to_device(array)

    def host(self, array: Any) -> Array:
        """Bring an answer to the host."""
        return self.backend.to_host(array)

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
        staged = [self.stage(activity) for activity in activities]
        return self.host(self.model.energies(staged, *map(self.stage, self.precision)))

    def energy_gradients(self, activities: Sequence[Array]) -> list[Array]:
        """``∂𝓕/∂θ`` at activities."""
        staged = [self.stage(activity) for activity in activities]
        gradients = self.model.energy_gradients(staged, *map(self.stage, self.precision))
        return [self.host(gradient) for gradient in gradients]

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
