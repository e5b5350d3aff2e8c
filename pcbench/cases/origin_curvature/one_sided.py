r"""The origin of rectifiers in the ``pre`` convention: one side of it at a time.

``f_L(z) = W_L φ(z)`` has a kink where all weights are zero, and the equilibrated energy no Hessian.
On the way out along ``V`` it still has a curvature: a last hidden unit that the forward pass leaves
awake, ``z > 0``, is drawn to ``b = V_Lᵀ y`` where that is positive, and the gradient of ``W_L``
grows by

.. math:: -\frac{1}{N} \sum_n y_n \, (1[z_n > 0] * b_n)^T .

Units that are asleep stay where they are: the slope is 0 there. A unit drawn down comes to rest on
its kink, where no force vanishes; directions here are such that none is, which takes targets of one
sign. With two hidden layers, who is awake is decided by the first alone, which inference moves by
less than it is away from zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pcbench.case import CaseSkippedError
from pcbench.judges.problem import Problem, Weights
from pcbench.theory.nonlinear.layered import feedforward


def direction(problem: Problem, rng: np.random.Generator) -> Weights:
    """Draw a direction along which no unit is drawn down, not of unit length.

    Raises
    ------
    CaseSkippedError
        If targets have both signs.
    """
    if (problem.y >= 0).all():
        sign = 1.0
    elif (problem.y <= 0).all():
        sign = -1.0
    else:
        raise CaseSkippedError(
            "some targets are positive and some negative, and rectifiers in the pre convention "
            "then rest on kinks; use data with targets of one sign, such as one-hot labels"
        )
    drawn = [rng.standard_normal(weight.shape) for weight in problem.weights]
    drawn[-1] = sign * np.abs(drawn[-1])
    return drawn


def growth(problem: Problem, along: Sequence[Float[np.ndarray, "_out _inp"]]) -> Weights:
    """How all weight gradients grow from zero along a direction, a layer each."""
    there = problem.at(list(along))
    last_hidden = feedforward(there.layered, problem.x)[-2]
    drawn = np.maximum(problem.y @ along[-1], 0.0)
    by_last = -problem.y.T @ (np.where(last_hidden > 0, 1.0, 0.0) * drawn) / len(problem.x)
    return [*(np.zeros_like(layer) for layer in along[:-1]), by_last]
