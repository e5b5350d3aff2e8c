"""Mistakes in the steps of gradient inference: another way, often to the same end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyModel, Host
from pcbench.contract import Capability, GradientInference, Inference, InferenceSettings
from pcbench.contract.parts import Part


class _OwnSteps(FaultyModel):
    """Gradient inference in linear networks, in NumPy; as it stands, without a mistake."""

    part = Part.INFERENCE_PATH
    needs: ClassVar[frozenset[str]] = frozenset({Capability.GRADIENT_INFERENCE, Trait.LINEAR})

    def begin(self, forward: list[Host]) -> list[Host]:
        """Return the hidden activities to begin with, of those of a forward pass."""
        return forward

    def move(self, z: list[Host], step: float) -> list[Host]:
        """Take a step, of all of ``z_0 … z_L``."""
        forces = self.forces(z)
        return [z[0], *(a - step * f for a, f in zip(z[1:-1], forces, strict=True)), z[-1]]

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Take steps until the residual is small enough, or the budget spent."""
        own = isinstance(settings, GradientInference) and not settings.halve
        if not own or not self.network.is_linear or self.replicated or precision is not None:
            return super().infer(x, y, settings, precision)
        assert isinstance(settings, GradientInference)  # for the type checker
        forward = [self.host(x)]
        for weight in self.weights[:-1]:
            forward.append(forward[-1] @ weight.T)
        start = self._norm([*forward, self.host(y)]) or 1.0
        z, steps = [forward[0], *self.begin(forward[1:]), self.host(y)], 0
        path = [self._energies(z)]
        while self._norm(z) > settings.residual * start and steps < settings.max_steps:
            z, steps = self.move(z, settings.step), steps + 1
            path.append(self._energies(z))
        residual = self._norm(z) / start
        return Inference(
            activities=[x, *map(self.device, z[1:-1]), y],
            energies=self.device(path[-1]),
            steps=steps,
            residual=self.device(np.array(residual)),
            converged=bool(residual <= settings.residual),
            path=self.device(np.array(path)) if settings.record else None,
        )

    def forces(self, z: Sequence[Host]) -> list[Host]:
        """``e_l - W_{l+1}ᵀ e_{l+1}`` of every hidden layer."""
        errors = self._errors(z)
        return [e - up @ w for (e, up), w in zip(pairwise(errors), self.weights[1:], strict=True)]

    def _errors(self, z: Sequence[Host]) -> list[Host]:
        return [up - low @ w.T for (low, up), w in zip(pairwise(z), self.weights, strict=True)]

    def _energies(self, z: Sequence[Host]) -> Host:
        squares = [float(np.sum(error**2)) for error in self._errors(z)]
        return np.array(squares) / (2 * len(z[0]))

    def _norm(self, z: Sequence[Host]) -> float:
        return float(np.sqrt(sum(float(np.sum(force**2)) for force in self.forces(z))))


class LayersInTurn(_OwnSteps):
    """Layers move one after the other, from the output down, and see those that have moved."""

    def move(self, z: list[Host], step: float) -> list[Host]:
        """Sweep."""
        moved = list(z)
        for layer in range(len(z) - 2, 0, -1):
            moved[layer] = moved[layer] - step * self.forces(moved)[layer - 1]
        return moved


class StartFromZeros(_OwnSteps):
    """Inference begins with activities of zero, not where a forward pass ends."""

    def begin(self, forward: list[Host]) -> list[Host]:
        """Forget them."""
        return [0 * z for z in forward]


class MomentumInInference(_OwnSteps):
    """Activities have momentum: the optimiser of the weights was taken for them as well."""

    def begin(self, forward: list[Host]) -> list[Host]:
        """Begin at rest."""
        self._velocities = [0 * z for z in forward]
        return forward

    def move(self, z: list[Host], step: float) -> list[Host]:
        """Go on in the direction of the step before."""
        moved = zip(self._velocities, self.forces(z), strict=True)
        self._velocities = [0.5 * velocity - step * force for velocity, force in moved]
        hidden = [a + v for a, v in zip(z[1:-1], self._velocities, strict=True)]
        return [z[0], *hidden, z[-1]]


FAULTS = (LayersInTurn, StartFromZeros, MomentumInInference)
