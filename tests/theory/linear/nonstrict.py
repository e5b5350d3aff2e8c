r"""A saddle of the equilibrated energy that is not strict (derived for this project).

The conjecture that all saddles of ``𝓕*`` are strict holds on noise-free targets, and wherever no
output direction is fitted exactly while ``Σ_xy ≠ 0`` (``critical.py``). In between it does not.
Take a 2-1-2 network, whitened inputs, and targets of which one is fitted exactly and the other is
noisy, its noise uncorrelated with the inputs:

.. math::
    y_1 = b_1 x_1, \quad y_2 = b_2 x_2 + s n, \qquad
    W_1 = (b_1/c,\; ε), \quad W_2 = (c,\; t)^T .

Every ``c`` with ``t = ε = 0`` is critical. In ``c`` and along ``y_1`` the energy never curves down,
and on the plane of ``t`` and ``ε`` the Hessian is

.. math::
    \begin{pmatrix} b_1^2/c^2 - (b_2^2 + s^2)/(1 + c^2) & -b_2/(1 + c^2) \\
                    -b_2/(1 + c^2) & c^2/(1 + c^2) \end{pmatrix},

with determinant ``(b_1² - b_2² - s² c²/(1 + c²)) / (1 + c²)``. Where ``s² > b_1² - b_2² > 0`` it
changes sign at ``c² = (b_1² - b_2²) / (s² - b_1² + b_2²)``. There no curvature is negative, and yet
there are lower points (saddles with larger ``c``, and what they curve down to) and higher ones
however near: a saddle, and not a strict one, with ``Σ_xx``, ``Σ_xy`` of full rank and distinct
singular values.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Weights

Problem = tuple[Weights, Float[np.ndarray, "8 2"], Float[np.ndarray, "8 2"]]


def non_strict_saddle(b_1: float = 2.0, b_2: float = 1.0, s: float = 2.0) -> Problem:
    """Return weights, inputs and targets of the saddle, on 8 samples.

    Raises
    ------
    ValueError
        Unless ``s² > b_1² - b_2² > 0``.
    """
    gap = b_1**2 - b_2**2
    if not s**2 > gap > 0:
        raise ValueError(f"s² > b_1² - b_2² > 0 does not hold for {b_1}, {b_2} and {s}")
    signs = np.array([[1, 1, 1, 1, -1, -1, -1, -1], [1, 1, -1, -1, 1, 1, -1, -1]], float).T
    noise = np.array([1, -1, 1, -1, 1, -1, 1, -1], float)  # orthogonal to both columns
    y = np.stack([b_1 * signs[:, 0], b_2 * signs[:, 1] + s * noise], axis=1)
    c = float(np.sqrt(gap / (s**2 - gap)))
    return [np.array([[b_1 / c, 0.0]]), np.array([[c], [0.0]])], signs, y
