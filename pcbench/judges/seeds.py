"""Many seeds of one question: initial weights side by side, and each seed's own batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pcbench.contract import DType
from pcbench.judges.problem import rounded
from pcbench.networks import NetworkSpec
from pcbench.networks.initialisation import Initialisation

Replicas = list[Float[np.ndarray, "R ..."]]


def draw_seeds(
    network: NetworkSpec,
    initialisation: Initialisation,
    seeds: int,
    rngs: tuple[np.random.Generator, np.random.Generator],
    dtype: DType,
) -> Replicas:
    """Draw initial weights, then biases, of every seed.

    Parameters
    ----------
    rngs
        One for weights, one for biases. The first seeds are the same however many there are.
    dtype
        Parameters are rounded to it.
    """
    draws = [
        [*initialisation.draw(network, rngs[0]), *initialisation.draw_biases(network, rngs[1])]
        for _ in range(seeds)
    ]
    return [np.stack(rounded(arrays, dtype)) for arrays in zip(*draws, strict=True)]


@dataclass(slots=True)
class Batches:
    """Every seed's samples, shuffled anew in every epoch; what is left over sits out.

    Attributes
    ----------
    samples
        How many there are.
    size
        Of a batch.
    seeds
        ``R``.
    shuffler
        Returns the random stream of an epoch, so that no epoch depends on another.
    """

    samples: int
    size: int
    seeds: int
    shuffler: Callable[[int], np.random.Generator]
    _latest: tuple[int, Int[np.ndarray, "T R N"]] | None = None

    @property
    def epoch(self) -> int:
        """Steps of an epoch."""
        return self.samples // self.size

    def __call__(self, start: int, stop: int) -> Int[np.ndarray, "T R N"]:
        """Return the batches of steps ``start`` up to ``stop``, of all seeds."""
        pieces = []
        for epoch in range(start // self.epoch, (stop - 1) // self.epoch + 1):
            first = epoch * self.epoch
            inside = slice(max(start - first, 0), min(stop - first, self.epoch))
            pieces.append(self._of(epoch)[inside])
        return np.concatenate(pieces)

    def _of(self, epoch: int) -> Int[np.ndarray, "T R N"]:
        if self._latest is None or self._latest[0] != epoch:
            rng = self.shuffler(epoch)
            rows = np.stack([rng.permutation(self.samples) for _ in range(self.seeds)])
            rows = rows[:, : self.epoch * self.size].reshape(self.seeds, self.epoch, self.size)
            self._latest = epoch, np.ascontiguousarray(rows.transpose(1, 0, 2))
        return self._latest[1]
