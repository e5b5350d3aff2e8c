r"""Saddles on a path of gradient descent, found from the path alone.

Along gradient flow the loss falls at the rate ``‖∇𝓛‖²``: a plateau of the loss is a valley of the
gradient norm, between the peaks of two drops. From near the origin, a network learns the singular
vectors of its targets one after another (Saxe et al. 2014; Jacot et al. 2021), so that between the
drop to rank ``k`` and that to ``k + 1`` stands a saddle of rank ``k``. Where it is, how high, and
whether two drops come as one, depends on the draw.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

RANK_SHARE = 0.05
"""Predictions have as many ranks as singular values above this share of the targets' largest."""

PEAK = 3.0
"""Gradient norm of the drops around a plateau, over its least there: the loss falls 9 times faster.
"""


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

    def add(self, step: int, loss: float, gradient_norm: float, rank: int) -> None:
        """Take one more look in."""
        self.steps.append(step)
        self.losses.append(loss)
        self.gradient_norms.append(gradient_norm)
        self.ranks.append(rank)

    def saddles(self, below: int) -> dict[int, int]:
        """Return the look at each saddle of a rank below that one, by rank; see :func:`saddles`."""
        return saddles(np.array(self.gradient_norms), np.array(self.ranks), below)


def numerical_rank(
    predictions: Float[np.ndarray, "N d_L"], targets: Float[np.ndarray, "N d_L"]
) -> int:
    """Count the singular values of the predictions that matter beside the targets."""
    of_targets = np.linalg.norm(targets, 2)
    singular = np.linalg.svd(predictions, compute_uv=False)
    return int(np.sum(singular > RANK_SHARE * of_targets))


def saddles(
    gradient_norms: Float[np.ndarray, " K"], ranks: Int[np.ndarray, " K"], below: int
) -> dict[int, int]:
    """Find the look at each saddle.

    That of rank 0 is where the path began, near the origin. That of rank ``k`` is where, among
    looks of this rank, the gradient is least, if it was ``PEAK`` times as large both since the
    saddle before and later on. A rank that a path hurries through has no saddle; nor has one that
    it has not left by its end, of which nobody knows whether it is the bottom.

    Parameters
    ----------
    gradient_norms, ranks
        As they were along the path.
    below
        The rank of the targets: from there on points are no saddles but minima.
    """
    found = {0: 0}
    for rank in range(1, below):
        [looks] = np.nonzero(ranks == rank)
        if not len(looks):
            continue
        least = int(looks[np.argmin(gradient_norms[looks])])
        before = gradient_norms[max(found.values()) : least + 1].max()
        after = gradient_norms[least:].max()
        if least > max(found.values()) and min(before, after) >= PEAK * gradient_norms[least]:
            found[rank] = least
    return found
