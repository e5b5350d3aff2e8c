"""Which points of rest are saddles of a rank, of linear networks, where there is more to ask.

Both criteria choose what is compared, and are no checks: a candidate that misses one is dropped,
and counted.
"""

from __future__ import annotations

import numpy as np

from pcbench.cases.matrix_completion.saddles import RANK_SHARE
from pcbench.judges.problem import Problem
from pcbench.theory.arrays import chain
from pcbench.theory.linear.critical import least_losses
from pcbench.theory.nonlinear.layered import feedforward


def is_saddle(problem: Problem, rank: int) -> bool:
    """Whether a point whose predictions show so many ranks is taken for a saddle of that rank."""
    if not problem.network.is_linear or rank == 0:
        return True
    return _maps_no_further(problem, rank) and _is_near_the_best(problem, rank)


def _maps_no_further(problem: Problem, rank: int) -> bool:
    """Whether the network's map has no more rank than its predictions show.

    How large the predictions are says nothing of directions in which inputs are small.
    """
    weights = problem.weights
    singular = np.linalg.svd(chain(weights, len(weights), 1), compute_uv=False)
    return bool(singular[rank] <= RANK_SHARE * singular[rank - 1])


def _is_near_the_best(problem: Problem, rank: int) -> bool:
    """Whether the drop from the rank below has been gone all but a share, in ``‖Y - Ŷ‖``.

    Of targets that are observed entirely, alone: others have no best in closed form.
    """
    if problem.precision is not None:
        return True
    losses = least_losses(problem.x, problem.y)
    best, above = np.sqrt(2 * len(problem.x) * np.maximum(losses[[rank, rank - 1]], 0.0))
    predictions = feedforward(problem.layered, problem.x)[-1]
    misfit = np.linalg.norm(problem.y - predictions)
    return bool(misfit <= best + RANK_SHARE * (above - best))
