r"""How far rounding may carry the Hessian of any network, and an inner solve that stopped (§4).

A unit change ``V`` of the parameters moves what a layer's output meets by ``ẑ + ĝ``, with the
largest spectral norms of activities and of forces; activities by at most ``(ẑ + ĝ)/σ²``, errors by
``(ẑ + ĝ)/σ``, where ``σ²`` is the least curvature ``λ_min(𝓕_zz)`` of a sample; and its image is
made of those, times ``ẑ`` and ``ĝ`` once more. Where layers bend, forces bend with them, by at most
``|g|_∞`` of what moves. The parts of an image so are at most

.. math:: (ẑ + ĝ/σ)^2 \, (1 + |g|_∞) / N ,

each with rounding of ``λ u √(2n)``, ``n`` the batch and all widths, magnified by ``√κ(𝓕_zz) ≤ (1 +
max ‖A_l‖)/σ``. A residual ``ρ`` of the inner system, relative to its right-hand side, moves an
image by at most ``ρ (ẑ + ĝ)² (1 + |g|_∞)² / (σ² N)``.

The loss is an equilibrated energy whose output has no force on the activities: the same holds with
forces from backpropagation, and ``σ²`` of the hidden errors alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcbench.theory.curvature import least_curvatures
from pcbench.theory.layered import (
    Batch,
    Layered,
    Precision,
    feedforward,
    pull_back,
    weigh,
    weighted_errors,
)
from pcbench.theory.rounding import CONFIDENCE


@dataclass(frozen=True, slots=True)
class LayeredHessianRounding:
    """Bounds for a Hessian, each for a direction of unit length.

    Attributes
    ----------
    product
        How far an image, or an eigenvalue, may be off by rounding.
    system
        The relative residual of the inner system that rounding leaves.
    unsolved
        How far an image is off for a relative residual of 1.
    """

    product: float
    system: float
    unsolved: float


def loss_hessian_rounding(
    network: Layered,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    u: float,
    precision: Precision | None = None,
) -> LayeredHessianRounding:
    """Bound the rounding of ``∇²𝓛`` in arithmetic of unit roundoff ``u``."""
    activities = feedforward(network, x)
    forces = [weigh(y - activities[-1], precision)[1]]
    for l in range(network.depth, 1, -1):
        forces.insert(0, pull_back(network, l, activities[l - 1], forces[0]))
    curvature = float(np.min(least_curvatures(network, activities, 0.0)))
    return _rounding(network, activities, forces, curvature, u)


def energy_hessian_rounding(
    network: Layered,
    activities: Sequence[Batch],
    u: float,
    precision: Precision | None = None,
) -> LayeredHessianRounding:
    """Bound the rounding of ``∇²𝓕*`` at equilibrium activities.

    Raises
    ------
    ValueError
        If they are no minimum of the energy: then there is no such Hessian.
    """
    forces = weighted_errors(network, activities, precision)
    curvature = float(np.min(least_curvatures(network, activities, precision)))
    if curvature <= 0:
        raise ValueError("these activities are no minimum of the energy: it curves downwards")
    return _rounding(network, activities, forces, curvature, u)


def _rounding(
    network: Layered,
    activities: Sequence[Batch],
    forces: Sequence[Batch],
    curvature: float,
    u: float,
) -> LayeredHessianRounding:
    n, sigma = len(activities[0]), float(np.sqrt(curvature))
    # A kernel of side k meets every pixel k² times.
    sides = [weight.shape[-1] if weight.ndim == 4 else 1 for weight in network.weights]
    z = max(side * float(np.linalg.norm(a, 2)) for side, a in zip(sides, activities, strict=False))
    g = max(float(np.linalg.norm(force, 2)) for force in forces)
    bent = 1 + max(float(np.abs(force).max(initial=0)) for force in forces)
    lengths = n + sum(activity.shape[1] for activity in activities)
    magnified = (1 + max(map(_norm, network.weights))) / sigma
    relative = CONFIDENCE * u * np.sqrt(2 * lengths) * magnified
    return LayeredHessianRounding(
        product=float(network.depth * relative * (z + g / sigma) ** 2 * bent / n),
        system=float(relative * magnified),
        unsolved=float((z + g) ** 2 * bent**2 / (curvature * n)),
    )


def _norm(weight: Float[np.ndarray, "_out ..."]) -> float:
    """``‖A‖``, of a convolution no less than that."""
    if weight.ndim == 2:
        return float(np.linalg.norm(weight, 2))
    places = np.ndindex(*weight.shape[2:])
    return sum(float(np.linalg.norm(weight[:, :, p, q], 2)) for p, q in places)
