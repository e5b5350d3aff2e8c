"""Mistakes in a trainer: what it learns from, and what becomes of its replicas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from pcbench.audit.trainer import FaultyTrainer, Rows, Slope
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import Capability, Model
from pcbench.contract.parts import Part

_REPLICAS = frozenset({Capability.REPLICAS})


class PreviousBatch(FaultyTrainer):
    """Gradients are those of the batch before."""

    _now: Rows | None = None
    _before: Rows | None = None

    def slope(self, place: int, rows: Rows | None) -> Slope:
        """Keep the rows for the next step."""
        honest = super().slope(place, rows)
        if place == 0:
            self._before, self._now = self._now, rows
        if self._before is None:
            return honest
        return replace(honest, gradients=super().slope(place, self._before).gradients)


class FirstLayerFrozen(FaultyTrainer):
    """The first layer's weights are not updated."""

    _frozen: ClassVar[int] = 0

    def update(self, gradients: list[Host]) -> None:
        """Put them back."""
        stays = self.theta[self._index].copy()
        super().update(gradients)
        self.theta[self._index] = stays

    @property
    def _index(self) -> int:
        return self._frozen


class LastLayerFrozen(FirstLayerFrozen):
    """The last layer's weights are not updated."""

    @property
    def _index(self) -> int:
        return self.network.n_layers - 1


class BiasesFrozen(FaultyTrainer):
    """Biases are not updated: they were not handed to the optimiser."""

    part = Part.BIASES
    needs: ClassVar[frozenset[str]] = frozenset({Trait.BIAS})

    def update(self, gradients: list[Host]) -> None:
        """Put them back."""
        stay = [bias.copy() for bias in self.theta[self.network.n_layers :]]
        super().update(gradients)
        self.theta[self.network.n_layers :] = stay


class SumForMean(FaultyTrainer):
    """The gradient that is followed is summed over the batch; the one that is recorded is not."""

    _samples = 1

    def slope(self, place: int, rows: Rows | None) -> Slope:
        """Count the samples."""
        self._samples = len(self.batch(place, rows)[0])
        return super().slope(place, rows)

    def scaled(self, gradients: list[Host]) -> list[Host]:
        """Multiply by their number."""
        return [self._samples * gradient for gradient in super().scaled(gradients)]


class OneBatchARun(FaultyTrainer):
    """A run sees its first batch at every step."""

    def chosen(self, batches: Int[np.ndarray, "T *#R N"] | None, step: int) -> Rows | None:
        """Take the first one."""
        return super().chosen(batches, 0)


class LearnsFromStaleActivities(FaultyTrainer):
    """Weights learn from the activities of the step before."""

    needs: ClassVar[frozenset[str]] = frozenset({Trait.PREDICTIVE_CODING})

    def begin(self, replicas: int) -> None:
        """Have none yet."""
        super().begin(replicas)
        self._kept: dict[int, list[Any]] = {}

    def activities(self, place: int, reached: list[Any]) -> list[Any]:
        """Keep the activities for the next step."""
        own = self.alive[place]
        stale, self._kept[own] = self._kept.get(own, reached), reached
        return stale


class StartsElsewhere(FaultyTrainer):
    """Training begins beside the model's parameters: they are initialised once more."""

    def begin(self, replicas: int) -> None:
        """Move the first weights."""
        super().begin(replicas)
        self.theta[0] = self.theta[0] * self.theta[0].dtype.type(1.001)


class MovesItsModel(FaultyTrainer):
    """Training writes into the model that it came from: nothing was copied."""

    def update(self, gradients: list[Host]) -> None:
        """Let the model follow."""
        super().update(gradients)
        if len(self.theta[0]) == len(self.alive) == self._replicas_at_first:
            origin = self.origin
            origin.inner = self.backend.build(origin.network, self.parameters())

    @property
    def _replicas_at_first(self) -> int:
        return len(self.origin.parameters[0]) if self.origin.replicated else 1


class LeavesItsModel(FaultyTrainer):
    """The model of a trainer stays where training began."""

    @property
    def model(self) -> Model[Any]:  # type: ignore[override]
        """The one that it came from."""
        return self.origin.inner


class LivesOnTheHost(FaultyTrainer):
    """Parameters are brought to the host without a copy, and go on learning there."""

    _given: Sequence[Host] = ()

    def parameters(self) -> list[Float[np.ndarray, "*R ..."]]:
        """Remember what was given."""
        found = super().parameters()
        self._given = found
        return found

    def update(self, gradients: list[Host]) -> None:
        """Write into it."""
        super().update(gradients)
        for there, here in zip(self._given, super().parameters(), strict=False):
            if there.shape == here.shape:
                there[:] = here


class ParametersBecomeNan(FaultyTrainer):
    """Parameters become NaN in the first step: a division by a norm of zero."""

    def update(self, gradients: list[Host]) -> None:
        """Lose them."""
        super().update(gradients)
        self.theta[0][:] = np.nan


class KeepsInOrder(FaultyTrainer):
    """Replicas are kept in the order that they had, whatever was asked for."""

    needs: ClassVar[frozenset[str]] = _REPLICAS

    def keep(self, replicas: Sequence[int]) -> None:
        """Sort them."""
        super().keep(sorted(replicas))


class KeepsTheFirst(FaultyTrainer):
    """As many replicas are kept as asked for, but the first ones."""

    needs: ClassVar[frozenset[str]] = _REPLICAS

    def keep(self, replicas: Sequence[int]) -> None:
        """Count them."""
        super().keep(range(len(replicas)))


FAULTS = (
    PreviousBatch,
    FirstLayerFrozen,
    LastLayerFrozen,
    BiasesFrozen,
    SumForMean,
    OneBatchARun,
    LearnsFromStaleActivities,
    StartsElsewhere,
    MovesItsModel,
    LeavesItsModel,
    LivesOnTheHost,
    ParametersBecomeNan,
    KeepsInOrder,
    KeepsTheFirst,
)
