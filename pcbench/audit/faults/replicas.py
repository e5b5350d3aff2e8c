"""Mistakes with replicas: answers that are not their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.wrappers import FaultyModel, Host
from pcbench.backends import Capability, Inference, InferenceSettings
from pcbench.parts import Part


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


FAULTS = (ReplicasInReverse, OneLossForAll, FirstReplicaForAll, GradientsSummedOverReplicas)
