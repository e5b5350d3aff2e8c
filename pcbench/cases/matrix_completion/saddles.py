r"""Saddles on a path of gradient descent, found from the path alone.

Along gradient flow the loss falls at the rate ``‖∇𝓛‖²``: a plateau of the loss is a valley of the
gradient norm, between the peaks of two drops. From near the origin, a network learns the singular
vectors of its targets one after another (Saxe et al. 2014; Jacot et al. 2021), so that between the
drop to rank ``k`` and that to ``k + 1`` stands a saddle of rank ``k``. Where it is, how high, and
whether two drops come as one, depends on the draw.

All of this holds while steps are short beside the curvature: the loss then falls at every step. One
that rises tells that they are not; what the gradient norm does from there on is no matter of
saddles.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

PEAK = 2.0
"""Gradient norm on both sides of a valley, over its least in it: the loss falls 4 times faster."""

RANK_SHARE = 0.1
"""Predictions have as many ranks as singular values above this share of the targets' largest."""


def numerical_rank(
    predictions: Float[np.ndarray, "N d_L"], targets: Float[np.ndarray, "N d_L"]
) -> int:
    """Count the singular values of the predictions that matter beside the targets."""
    singular = np.linalg.svd(predictions, compute_uv=False)
    return int(np.sum(singular > RANK_SHARE * np.linalg.norm(targets, 2)))


@dataclass(slots=True)
class Valleys:
    """Walks along a path, and knows the valley that it is in.

    Attributes
    ----------
    peak
        The highest since the last valley was left.
    floor
        The lowest after that.
    """

    peak: float = -np.inf
    floor: float = np.inf

    @property
    def deep(self) -> bool:
        """Whether the path has come ``PEAK`` times lower than the last peak."""
        return self.floor * PEAK <= self.peak

    def walk(self, height: float) -> tuple[bool, bool]:
        """Go on to a height.

        Returns
        -------
        left
            Whether a valley was left by this: its floor is ``PEAK`` times lower than the peak
            before it, and than here.
        lowest
            Whether here is the lowest since the last peak, where the next valley may have its
            floor.
        """
        left = self.deep and self.floor * PEAK <= height
        if left or height > self.peak:
            self.peak = self.floor = height
            return left, True
        lowest = height < self.floor
        self.floor = min(self.floor, height)
        return False, lowest


@dataclass(slots=True)
class Path:
    """One draw's way down, as it was looked at.

    Attributes
    ----------
    steps, losses, gradient_norms, ranks
        Of each of ``K`` looks: after how many steps, ``𝓛``, ``‖∇𝓛‖`` over all parameters, and of
        how many ranks the predictions were.
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    _valleys: Valleys = field(default_factory=Valleys)
    _floor: int = 0

    def add(
        self, step: int, loss: float, gradient_norm: float, rank: int
    ) -> tuple[int | None, bool]:
        """Take one more look in.

        Returns
        -------
        left
            The look at the floor of a valley that the path has just left.
        lowest
            Whether this look may become such a floor.
        """
        left, lowest = self._valleys.walk(gradient_norm)
        floor = self._floor
        if lowest:
            self._floor = len(self.steps)
        self.steps.append(step)
        self.losses.append(loss)
        self.gradient_norms.append(gradient_norm)
        self.ranks.append(rank)
        return floor if left else None, lowest

    def resting(self) -> int | None:
        """Return the look at the floor of the valley that the path is in, if it is in one."""
        return self._floor if self._valleys.deep else None
