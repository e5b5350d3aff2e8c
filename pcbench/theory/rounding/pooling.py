"""Max pooling of values that round: which entry of a window wins may be in doubt (§4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from pcbench.theory.nonlinear.layered import Batch, Layered, Windows, from_windows, windows
from pcbench.theory.rounding.bounds import CONFIDENCE


@dataclass(frozen=True, slots=True)
class Pool:
    """Max pooling in doubt; a dense layer is made of windows of one entry.

    Attributes
    ----------
    value, value_std
        The maxima; ``alike`` is a factor that makes no doubt greater.
    wins, contends
        Which entries of a window are sent the force, and which may be.
    """

    network: Layered
    l: int
    value: Batch
    value_std: Batch
    wins: Bool[np.ndarray, "_N _c _rows _columns _entries"]
    contends: Bool[np.ndarray, "_N _c _rows _columns _entries"]

    @classmethod
    def of(cls, network: Layered, l: int, value: Batch, std: Batch, alike: Batch, u: float) -> Pool:
        """Find the maxima of values with these standard deviations, in units of ``u``."""
        values, stds = _windows(network, l, value), _windows(network, l, std)
        first = values.argmax(axis=-1)[..., None]
        wins = np.zeros(values.shape, bool)
        np.put_along_axis(wins, first, True, axis=-1)
        largest, its_std = (np.take_along_axis(a, first, axis=-1) for a in (values, stds))
        contends = wins | (largest - values < CONFIDENCE * u * (stds + its_std))
        value_std = np.where(contends, stds * _windows(network, l, alike), 0.0).max(axis=-1)
        return cls(
            network,
            l,
            largest.reshape(len(value), -1),
            value_std.reshape(len(value), -1),
            wins,
            contends,
        )

    def send(self, force: Batch) -> Batch:
        """Return each force to where its maximum is."""
        return self._to(force, self.wins)

    def flips(self, force: Batch, steepest: Batch) -> Batch:
        """What each entry may lose or gain by a tie."""
        tied = self.contends.sum(axis=-1, keepdims=True) > 1
        changed: Batch = steepest * self._to(force, self.contends & tied)
        return changed

    def _to(self, force: Batch, entries: Bool[np.ndarray, "_N _c _rows _columns _e"]) -> Batch:
        spread = np.where(entries, force.reshape(*entries.shape[:-1], 1), 0.0)
        if self.network.is_convolution(self.l):
            return from_windows(self.network, self.l, spread)
        flat: Batch = spread.reshape(len(spread), -1)
        return flat


def _windows(network: Layered, l: int, z: Batch) -> Windows:
    if network.is_convolution(l):
        return windows(network, l, z)
    single: Windows = z.reshape(len(z), -1, 1, 1, 1)
    return single
