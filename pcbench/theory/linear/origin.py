r"""Theorem 2 of the paper: the Hessians of loss and equilibrated energy at the origin (§2.4).

With ``Σ_yy = YᵀY/N`` and ``Σ_xy = XᵀY/N``, and parameters flattened row by row:

* the energy's Hessian has the diagonal block ``-Σ_yy ⊗ I_{d_{L-1}}`` of ``W_L``, the loss's has
  not;
* with one hidden layer both have the cross block
  ``∂²/∂(W_1)_{ij} ∂(W_2)_{ai'} = -δ_{ii'} (Σ_xy)_{ja}``; with more, no cross block;
* everything else is zero.

So the origin is a strict saddle of the energy at any depth, and of the loss only for ``L = 2``.

Of a non-linear network with ``φ(0) = 0`` the cross block carries ``φ'(0)``, and in the ``pre``
convention the diagonal block ``φ'(0)²`` (§3.2); in ``post`` that block is free of ``φ``, and needs
no slope where there is no cross block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import scipy.sparse
from jaxtyping import Float

from pcbench.theory.nonlinear.layered import Activation, activation_slope

Objective = Literal["loss", "energy"]


@dataclass(frozen=True, slots=True)
class Slopes:
    """What an activation makes of the two blocks: factors of the cross and the diagonal one."""

    cross: float = 1.0
    corner: float = 1.0

    @classmethod
    def of(cls, activation: Activation, convention: str) -> Slopes:
        """Return the factors of an activation with ``φ(0) = 0``, in a convention.

        Raises
        ------
        ValueError
            If it has a kink at 0 on which a block depends in every network: a rectifier in ``pre``.
        """
        kinked = activation in {"relu", "leaky_relu"}
        if kinked and convention == "pre":
            raise ValueError(f"{activation} in the pre convention has no Hessian at the origin")
        slope = 1.0 if kinked else float(activation_slope(activation, np.zeros((1, 1)))[0, 0])
        return cls(float("nan") if kinked else slope, slope**2 if convention == "pre" else 1.0)


LINEAR = Slopes()


def origin_hessian(
    widths: Sequence[int],
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    objective: Objective,
    slopes: Slopes = LINEAR,
) -> scipy.sparse.csr_array:
    """Return the whole Hessian at the origin, ``(P, P)``, entry by entry.

    Raises
    ------
    ValueError
        If the network has no hidden layer: the theorem is about ``L ≥ 2``.
    """
    n_layers = _require_hidden(widths, slopes)
    last = np.zeros((widths[-1] * widths[-2],) * 2)
    if objective == "energy":
        last = np.kron(-slopes.corner * (y.T @ y) / len(y), np.eye(widths[-2]))
    if n_layers > 2:
        before = sum(out * inp for inp, out in pairwise(widths[:-1]))
        empty = scipy.sparse.csr_array((before, before))
        return scipy.sparse.block_diag([empty, last], format="csr")
    cross = np.einsum("ik,ja->ijak", np.eye(widths[1]), -slopes.cross * (x.T @ y) / len(x))
    cross = cross.reshape(widths[1] * widths[0], widths[2] * widths[1])
    return scipy.sparse.block_array([[None, cross], [cross.T, last]], format="csr")


def origin_spectrum(
    widths: Sequence[int],
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    objective: Objective,
    slopes: Slopes = LINEAR,
) -> Float[np.ndarray, " P"]:
    """Return all eigenvalues at the origin, ascending, found from a small matrix.

    ``L = 2``: those of ``[[0, -Σ_xy], [-Σ_yx, -Σ_yy]]`` (without ``Σ_yy`` for the loss), each
    ``d_1`` times. ``L > 2``: those of ``-Σ_yy``, each ``d_{L-1}`` times, and zeros (for the loss,
    zeros only).
    """
    n_layers = _require_hidden(widths, slopes)
    corner = np.zeros((widths[-1],) * 2)
    if objective == "energy":
        corner = -slopes.corner * (y.T @ y) / len(y)
    small = corner
    if n_layers == 2:
        cross = -slopes.cross * (x.T @ y) / len(x)
        small = np.block([[np.zeros((widths[0],) * 2), cross], [cross.T, corner]])
    eigenvalues = np.repeat(np.linalg.eigvalsh(small), widths[-2])
    n_parameters = sum(out * inp for inp, out in pairwise(widths))
    zeros = np.zeros(n_parameters - len(eigenvalues))
    return np.sort(np.concatenate([eigenvalues, zeros]))


def _require_hidden(widths: Sequence[int], slopes: Slopes) -> int:
    if len(widths) < 3:
        raise ValueError("Theorem 2 is about networks with at least one hidden layer")
    if len(widths) == 3 and np.isnan(slopes.cross):
        raise ValueError("a rectifier has no slope at 0, and so no cross block")
    return len(widths) - 1
