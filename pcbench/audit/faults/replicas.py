"""Mistakes with replicas: answers that are not their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyBackend, FaultyModel, Host
from pcbench.contract import (
    Capability,
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
    Inference,
    InferenceSettings,
    Model,
)
from pcbench.contract.parts import Part
from pcbench.networks import NetworkSpec


class _Replicas(FaultyModel):
    part = Part.REPLICAS
    needs: ClassVar[frozenset[str]] = frozenset({Capability.REPLICAS})


class ReplicasInReverse(_Replicas):
    """The losses of replicas come in the opposite order."""

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Turn their order round."""
        honest = super().loss(x, y, precision)
        return self.changed(honest, lambda loss: loss[::-1]) if self.replicated else honest


class OneLossForAll(_Replicas):
    """The loss is averaged over replicas, too."""

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Give every replica the mean."""
        honest = super().loss(x, y, precision)
        if not self.replicated:
            return honest
        return self.changed(honest, lambda loss: np.full_like(loss, loss.mean()))


class FirstReplicaForAll(_Replicas):
    """All replicas are given the activities of the first: a broadcast along the wrong axis."""

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Repeat the first one's."""
        reached = super().infer(x, y, settings, precision)
        if not self.replicated:
            return reached
        first, *hidden, last = reached.activities

        def repeated(z: Host) -> Any:
            return np.broadcast_to(z[:1], z.shape).copy() if z.ndim == 3 else z

        return replace(reached, activities=[first, *self.each_changed(hidden, repeated), last])


class GradientsSummedOverReplicas(_Replicas):
    """Local gradients are summed over replicas, as of weights that they share."""

    def energy_gradients(self, activities: Sequence[Any], precision: Any = None) -> Sequence[Any]:
        """Give every replica the sum."""
        honest = super().energy_gradients(activities, precision)
        if not self.replicated:
            return honest
        return self.each_changed(
            honest, lambda g: np.broadcast_to(g.sum(axis=0, keepdims=True), g.shape).copy()
        )


class StepOverReplicas(_Replicas):
    """Inference divides its step by the number of replicas, as a mean over them would."""

    needs: ClassVar[frozenset[str]] = frozenset({Capability.REPLICAS, Trait.ITERATIVE})

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Take shorter steps."""
        if self.replicated and isinstance(settings, GradientInference | ErrorInference):
            settings = settings.model_copy(update={"step": settings.step / len(self.parameters[0])})
        return super().infer(x, y, settings, precision)


class MovesOnWithTheOthers(_Replicas):
    """A replica that has arrived moves on until the last one has."""

    needs: ClassVar[frozenset[str]] = frozenset({Capability.REPLICAS, Trait.ITERATIVE})

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Take as many steps with all of them."""
        reached = super().infer(x, y, settings, precision)
        own = isinstance(settings, GradientInference | ErrorInference | GaussNewtonInference)
        if not self.replicated or not own or not reached.steps:
            return reached
        on = settings.model_copy(update={"residual": 1e-300, "max_steps": reached.steps})
        return replace(super().infer(x, y, on, precision), converged=reached.converged)


class RecordsOfNeighbours(_Replicas):
    """Replicas are given each other's records."""

    needs: ClassVar[frozenset[str]] = frozenset({Capability.REPLICAS, Trait.RECORDED})

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Turn their order round."""
        reached = super().infer(x, y, settings, precision)
        if not self.replicated or reached.path is None:
            return reached
        return replace(reached, path=self.changed(reached.path, lambda path: path[::-1]))


class RectifierNotInReplicas(FaultyBackend):
    """With replicas, rectifiers and SiLU are not applied: that case fell out of a table."""

    part = Part.REPLICAS
    needs: ClassVar[frozenset[str]] = frozenset({Capability.REPLICAS, Trait.ACTIVATION})

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Leave the activation out."""
        replicated = parameters[0].ndim > len(network.shapes[0])
        if replicated and network.activation in ("relu", "leaky_relu", "silu"):
            network = replace(network, activation="identity")
        return super().build(network, parameters)


FAULTS = (
    ReplicasInReverse,
    OneLossForAll,
    FirstReplicaForAll,
    GradientsSummedOverReplicas,
    StepOverReplicas,
    MovesOnWithTheOthers,
    RecordsOfNeighbours,
    RectifierNotInReplicas,
)
