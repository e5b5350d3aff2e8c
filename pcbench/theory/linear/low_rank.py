r"""What linear maps of limited rank can do at best (Baldi & Hornik 1989, Neural Networks 2:53).

Predictions ``X Wᵀ`` with ``W`` of rank ``k`` lie in the column space of ``X``, and have rank ``k``.
With ``P`` the projection onto that space, and the singular values ``s_i`` of ``P Y``,

.. math::
    \min_{\mathrm{rank}\, W \le k} 𝓛 = \frac{1}{2N} \Big( \|Y\|^2 - \sum_{i \le k} s_i^2 \Big) ,

by Eckart & Young, and the best ``W`` is a critical point of a deep linear network that can be it:
for ``k`` below the rank of ``P Y``, a saddle.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import orth

from pcbench.theory.arrays import Inputs, Targets


def least_losses(x: Inputs, y: Targets) -> Float[np.ndarray, " ranks"]:
    """``𝓛`` of the best linear maps of rank 0, 1, … up to the smaller side of ``P Y``."""
    projected = orth(x).T @ y
    singular = np.linalg.svd(projected, compute_uv=False)
    explained = np.concatenate([[0.0], np.cumsum(singular**2)])
    losses: Float[np.ndarray, " ranks"] = (np.sum(y**2) - explained) / (2 * len(x))
    return losses
