r"""What platforms may lose that answer zero below their smallest normal number (§4).

XLA does so by design, and others where they are told to (``torch.set_flush_denormal``). Each number
that is computed is then off by up to ``2^-126``, the smallest normal number of float32. A forward
and a backward pass and the gradients make ``3 N Σ_l |A_l|`` products and as many sums, and a square
and a sum for each activity. What one is off by is passed on by the layers around it, and is
multiplied by an activity or an error, or by none. So, by the triangle inequality, no answer's norm
is off by more than

.. math:: 2^{-126} \; 6 N \Big(\sum_l |A_l| + \sum_l d_l\Big) \;
          \max_l(1, ‖z_l‖, ‖e_l‖) \prod_l \max(1, s ‖A_l‖) ,

with ``s`` the steepest slope of an activation, and ``‖A‖`` the largest singular value. In a deep
network that saturates the product may be ``1e80`` and nothing of the kind travels. At activities
that are given, no number goes further than a potential, the error above it and the activities
below: ``max_l`` stands for ``∏_l`` then. What activities and forces are off by themselves, and so
bring along from layer to layer, is drawn with their rounding (``passes.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import spectral_norm
from pcbench.theory.nonlinear.activations import STEEPEST

SMALLEST = 2.0**-126
"""The smallest normal number of float32, and of bfloat16."""

Norm = TypeVar("Norm", float, Float[np.ndarray, " N"])


def underflow(
    weights: Sequence[Float[np.ndarray, "_out ..."]],
    arrays: Sequence[Float[np.ndarray, "_n _d"]],
    *,
    forward: bool = False,
    carried: bool = True,
    steepest: float = STEEPEST,
) -> float:
    """Bound what numbers that are flushed to zero change in the norm of any answer.

    Parameters
    ----------
    weights
        ``A_1 … A_L``; kernels of convolutions ``(out, in, k, k)``.
    arrays
        Activities and errors, one row a sample; unobserved targets may be NaN.
    steepest
        ``s``, at least 1.
    forward
        Whether activities alone are asked about, which are multiplied by nothing but weights.
    carried
        Whether numbers pass all layers; otherwise activities are given, and one is all they pass.
    """
    samples = max(1, *(len(array) for array in arrays))
    count = sum(weight.size for weight in weights) + sum(array.shape[1] for array in arrays)
    sizes = [float(np.sqrt(np.nansum(array**2))) for array in arrays]
    lost: float = SMALLEST * 6 * samples * count * (1.0 if forward else max(1.0, *sizes))
    passed = [max(1.0, steepest * _norm(weight)) for weight in weights]
    return lost * (prod(passed) if carried else steepest * max(passed))


def norm_underflow(norm: Norm, size: int) -> Norm:
    """Bound what flushed numbers change in a Frobenius norm, of ``size`` numbers.

    Each number may be taken for zero, and so may its square and each partial sum: ``2n`` losses
    ``t`` of one sign from a square ``s²``, which ``s - √(s² - 2nt) ≤ min(√(2nt), 2nt/s)`` bounds.
    """
    least = np.sqrt(2 * size * SMALLEST)
    bound: Norm = np.sqrt(size) * SMALLEST + least**2 / np.maximum(norm, least)
    return bound


def _norm(weight: Float[np.ndarray, "_out ..."]) -> float:
    """A bound on ``‖A‖``; of a kernel of side ``k``, which meets each pixel ``k²`` times."""
    side = weight.shape[-1] if weight.ndim == 4 else 1
    return side * spectral_norm(weight.reshape(len(weight), -1))
