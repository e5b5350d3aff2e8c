"""A backend's model of one drawn network, with answers brought to the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from pcbench.contract import (
    Backend,
    InferenceSettings,
    Model,
    engines,
)
from pcbench.judges.problem import Problem
from pcbench.judges.relaxed import Relaxed

Array = Float[np.ndarray, "..."]


def offered(backend: Backend[Any], problem: Problem) -> list[str]:
    """Engines that the backend declares, and that can treat the network."""
    return [
        engine
        for engine, settings in engines()
        if settings.capability in backend.capabilities
        and (problem.network.is_linear or engine != "exact")
    ]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says of a batch, and of activities; with an axis of replicas, if it has one."""

    prediction: Array
    loss: Array
    loss_gradients: list[Array]
    energies: Array
    energy_gradients: list[Array]


class Subject:
    """Puts questions about one problem to a backend.

    A precision is only mentioned where there is one: backends without that capability need not know
    the word.

    Parameters
    ----------
    backend
        Who is asked.
    problem
        The network and the batch.
    parameters
        Weights and biases instead of the problem's, such as those of replicas.
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

    def infer(self, settings: InferenceSettings) -> Relaxed:
        """Where inference ends."""
        x, y, *precision = self.batch
        return Relaxed.of(self.backend, self.model.infer(x, y, settings, *precision))

    def answers(self, activities: Sequence[Array]) -> Answers:
        """Ask everything that every backend has to know."""
        return Answers(
            self.predict(self.problem.x),
            self.loss(),
            self.loss_gradients(),
            self.energies(activities),
            self.energy_gradients(activities),
        )
