"""When training leaves a saddle: the first step at which the smoothed loss has fallen far enough.

A replica that has not left by the end of its run is right-censored: its escape time is known to be
longer than the run, and no more. Such a time is neither dropped (the slowest replicas would be
missing from every comparison) nor taken for the length of the run. One that has left by the first
step that can be looked at is left-censored: it left then or before. Any other time lies within the
step before it, which comparisons allow for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, slots=True)
class Times:
    """Times of an event in ``n`` replicas, right-censored where it was not seen.

    Attributes
    ----------
    times
        Steps, counted from 1: when the event was seen, or else until when it had not happened. A
        censored time of 0 belongs to a replica of which nothing was seen.
    observed
        Whether the event was seen.
    visible
        The first step at which it can be seen: who is seen then is left-censored. 0 if none is.

    Raises
    ------
    ValueError
        If a time is negative or not finite, or an event was seen at 0.
    """

    times: Float[np.ndarray, " n"]
    observed: Bool[np.ndarray, " n"]
    visible: float = 0.0

    def __post_init__(self) -> None:
        if not np.all(np.isfinite(self.times) & (self.times >= 0)):
            raise ValueError("a time is negative or not finite; one that is too long is censored")
        if np.any(self.observed & (self.times == 0)):
            raise ValueError("an event was observed at time 0, but steps are counted from 1")

    def __getitem__(self, replicas: Any) -> Times:
        """Return the times of some replicas."""
        return Times(self.times[replicas], self.observed[replicas], self.visible)

    @property
    def at_once(self) -> Bool[np.ndarray, " n"]:
        """Which events were seen as soon as any can be."""
        seen: Bool[np.ndarray, " n"] = self.observed & (self.times <= self.visible)
        return seen

    @property
    def earliest(self) -> Float[np.ndarray, " n"]:
        """Until when the event has not happened for certain: 0 where it was seen at once."""
        return np.where(self.at_once, 0.0, self.times)

    @property
    def latest(self) -> Float[np.ndarray, " n"]:
        """Until when the event has happened for certain: ``inf`` where it was not seen."""
        return np.where(self.observed, self.times, np.inf)


def escape_times(
    losses: Float[np.ndarray, "T n"],
    reference: Float[np.ndarray, " n"],
    *,
    fraction: float,
    window: int,
) -> Times:
    """Find the first step at which the smoothed loss has fallen by a fraction of the saddle's.

    The smoothed loss of a step is the mean over the last ``window`` steps, that one included. There
    is none before step ``window``, so that one lucky batch at the start is no escape: steps are
    counted from 1, and an observed time is at least ``window``. A loss that has fallen for good is
    seen to have fewer than ``window`` steps later, which draws ratios of times towards 1: a window
    is best short against the times that are compared.

    The first loss that is not finite ends a replica, whether it was dropped or has diverged. What
    comes after is not looked at, and it is censored at its last finite step.

    Parameters
    ----------
    losses
        Of ``T`` consecutive steps in ``n`` replicas.
    reference
        Each replica's loss at the saddle that it leaves.
    fraction
        An escape is a smoothed loss at or under ``(1 - fraction) reference``; between 0 and 1.
    window
        Steps that are averaged, at least 1.

    Raises
    ------
    ValueError
        If ``fraction`` or ``window`` is out of range, or a reference not positive and finite.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"a fraction of the saddle's loss lies between 0 and 1; got {fraction:g}")
    if window < 1:
        raise ValueError(f"a window has at least one step; got {window}")
    if not np.all(np.isfinite(reference) & (reference > 0)):
        raise ValueError(
            "a loss at a saddle is positive and finite, or there is nothing to fall by"
        )
    thresholds = (1 - fraction) * reference.astype(np.float64)
    # A column at a time: a million steps of a hundred replicas are not copied at once.
    found = [
        _escape(column, threshold, window)
        for column, threshold in zip(losses.T, thresholds, strict=True)
    ]
    return Times(
        times=np.array([time for time, _ in found], dtype=np.float64),
        observed=np.array([observed for _, observed in found], dtype=np.bool_),
        visible=float(window),
    )


def _escape(losses: Float[np.ndarray, " T"], threshold: float, window: int) -> tuple[int, bool]:
    steps = int(np.argmin(np.append(np.isfinite(losses), False)))
    fallen = _trailing_means(losses[:steps].astype(np.float64), window) <= threshold
    return (window + int(np.argmax(fallen)), True) if fallen.any() else (steps, False)


def _trailing_means(values: Float[np.ndarray, " T"], window: int) -> Float[np.ndarray, " _means"]:
    """Return the means of ``values[i : i + window]``, for every such ``i``.

    Cut into blocks of ``window``, a window is the end of one block and the start of the next.
    Nothing is subtracted, unlike in a difference of running sums, where a spike of the loss would
    leave its rounding in every mean after it.
    """
    blocks = np.pad(values / window, (0, -len(values) % window)).reshape(-1, window)
    starts = np.cumsum(blocks, axis=1)
    ends = np.cumsum(blocks[:, ::-1], axis=1)[:, ::-1]
    ends[:, 0] = 0.0  # a window that is one block is all in `starts`
    means: Float[np.ndarray, " _means"] = (
        ends.ravel()[: max(len(values) - window + 1, 0)] + starts.ravel()[window - 1 : len(values)]
    )
    return means
