r"""How far rounding may carry an honest implementation: where the tolerances come from (§4).

Every inner product of length ``n``, in whatever order it is summed, makes up to ``2n`` roundings
of relative size ``u``, each of a partial sum no larger than ``‖a‖‖b‖`` (Cauchy-Schwarz). Taken as
independent and of mean zero (Higham & Mary 2019, SIAM J. Sci. Comput. 41(5), A2815), they add up
to an error of standard deviation at most

.. math:: u \sqrt{2n} \, ‖a‖ ‖b‖ ,

and Azuma's inequality leaves a chance below ``2 exp(-λ²/2)`` for an error of ``λ`` times that. All
bounds use ``λ = 8``: under 1e-13 for one comparison, under 1e-6 for ten million of them.

How such errors travel through a network depends on its weights: at equilibrium stochastic
arithmetic finds out (``perturbation.py``); for a Hessian at a saddle a bound on norms is sharp
enough.

**Products of Hessians.** A product has no closed form whose rounding could be followed by hand, but
it can be tried: an inner product of ``n`` terms has rounding of standard deviation up to ``u √(2n)
‖a‖ ‖b‖``, and so has one whose factors are exact but for independent relative errors of ``√2 n u``.
The theory's own product is therefore made once more, of a network, activities and a direction with
such errors (``stochastic.with_rounding``), ``n`` being the longest sum that they enter. How far
that carries the image, as one vector of many entries, is close to its standard deviation; ``λ = 8``
times it is allowed.

Errors are of the dtype's own size, not scaled to it afterwards: inner solves of a condition up to
``10^12`` are judged, and bend long before an error of ``2^-30``. In float64 that is the size of the
theory's own rounding, and still no perturbation vanishes: each has a standard deviation of ``√2 u``
or more. What the theory rounds itself comes on top, and has to be allowed as well.

Activities that are a minimum, with least curvature ``σ² = λ_min(𝓕_zz)`` of a sample, tell what an
inner solve may leave: with ``ẑ`` and ``ĝ`` the largest spectral norms of activities and of forces,
a unit direction has a right-hand side of at most ``ẑ + ĝ``, so a relative residual ``ρ`` moves the
image by at most ``ρ (ẑ + ĝ)² (1 + |g|_∞)² / (σ² N)``, where forces bend layers by ``|g|_∞``. What
rounding leaves of it is ``λ u √(2n) κ``, with ``κ ≤ ((1 + max ‖A_l‖)/σ)²``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Batch, Inputs, Targets, Units, Weights
from pcbench.theory.linear.equilibrium import (
    activities_from_errors,
    equilibrium_errors,
    least_activity_curvature,
)
from pcbench.theory.nonlinear.curvature import least_curvatures
from pcbench.theory.nonlinear.layered import Layered, Precision, weighted_errors

CONFIDENCE = 8.0
"""``λ``: how many standard deviations of rounding are allowed."""


def unit_roundoff(dtype: Literal["float32", "float64"]) -> float:
    """``u``: half the distance from 1 to the next number."""
    return float(np.finfo(dtype).eps) / 2


FLOAT64 = unit_roundoff("float64")
"""``u`` of the theory itself: it computes in float64 whatever a backend does, and errs too."""


def of_both(u: float) -> float:
    """Return the roundoff of a difference: the theory, in float64, rounds as the backend does."""
    return float(np.hypot(u, FLOAT64))


@dataclass(frozen=True, slots=True)
class UnfinishedInference:
    """Bounds on what inference that stopped at a residual still misses, absolute."""

    energy: float
    gradients: tuple[float, ...]


def unfinished_inference(
    weights: Weights, x: Inputs, y: Targets, residual: float
) -> UnfinishedInference:
    """Bound what is missed where ``‖∂(N𝓕)/∂z‖ ≤ residual``, by ``λ_min(H_z)`` (§2.3).

    ``H_z δz = ρ`` and ``‖δe‖² = δzᵀ H_z δz`` give ``‖δz‖ ≤ ‖ρ‖/λ_min``, ``‖δe‖ ≤ ‖ρ‖/√λ_min``, and
    for the gap ``‖δe‖²/(2N)``; the local gradient ``-(1/N) e_lᵀ z_{l-1}`` moves by at most
    ``(‖δe‖‖z_{l-1}‖ + ‖e_l‖‖δz‖ + ‖δe‖‖δz‖)/N``.
    """
    curvature = least_activity_curvature(weights)
    n, de, dz = len(x), residual / np.sqrt(curvature), residual / curvature
    e = equilibrium_errors(weights, x, y)
    z = activities_from_errors(weights, x, e)
    gradients = [
        float(de * np.linalg.norm(below) + np.linalg.norm(error) * dz + de * dz) / n
        for below, error in zip(z, e, strict=False)
    ]
    return UnfinishedInference(energy=float(de**2) / (2 * n), gradients=tuple(gradients))


def direct_solve_residual(weights: Weights, x: Inputs, y: Targets, u: float) -> float:
    """Bound ``‖∂(N𝓕)/∂z‖`` where ``H_z z = b`` was solved for all activities at once (§4.2).

    A stable solution is exact for a matrix that is off by roundings of ``H_z``, of which each entry
    of the solution sees as many as there are unknowns (Higham 2002, 10.1; independent ones, as in
    ``summation.py``): ``λ u √n ‖H_z‖ ‖z‖``, and as much for ``b``. ``H_z = TᵀT`` has ``‖T‖ ≤ 1 +
    max ‖W_l‖``. Where the two passes keep an activity at zero, this does not.
    """
    z = activities_from_errors(weights, x, equilibrium_errors(weights, x, y))
    largest = (1 + max(np.linalg.norm(weight, 2) for weight in weights)) ** 2
    size = np.sqrt(sum(np.sum(activity**2) for activity in z))
    unknowns = max(1, sum(len(weight) for weight in weights[:-1]))
    return float(2 * CONFIDENCE * u * np.sqrt(unknowns) * largest * size)


@dataclass(frozen=True, slots=True)
class HessianRounding:
    """Bounds on the rounding of a Hessian: on each entry, and on each eigenvalue."""

    entry: float
    eigenvalue: float


def hessian_rounding(weights: Weights, x: Inputs, y: Targets, u: float) -> HessianRounding:
    r"""Bound the rounding of ``∇²𝓕* = 𝓕_θθ - 𝓕_θz 𝓕_zz⁻¹ 𝓕_zθ`` (§3.1), or of ``∇²𝓛``.

    A change ``V`` of one layer moves the errors by ``‖δe‖ ≤ ‖V z‖ + ‖Vᵀe‖/σ`` and the activities
    by ``‖δz‖ ≤ ‖δe‖/σ``, with ``σ² = λ_min(H_z)``; its image is ``-(1/N)(δe_lᵀ z_{l-1} + e_lᵀ
    δz_{l-1})``. The parts that cancel or add up in an entry are so at most ``(‖z‖ + ‖e‖/σ)²/N``,
    with the largest column norms of ``z_l`` and ``e_l``; for the operator norm, with their
    spectral norms, over ``L`` layers. Each part carries rounding of ``λ u √(2n)``, where ``n``
    counts the batch and all widths, and solving with ``H_z`` magnifies it by at most ``√κ(H_z) ≤
    (1 + max ‖W_l‖)/σ``. By Weyl's inequality an eigenvalue moves by no more than the operator
    norm.
    """
    e = equilibrium_errors(weights, x, y)
    z = activities_from_errors(weights, x, e)
    sigma = np.sqrt(least_activity_curvature(weights))
    lengths = len(x) + sum(weight.shape[0] for weight in weights) + weights[0].shape[1]
    magnified = (1 + max(np.linalg.norm(weight, 2) for weight in weights)) / sigma
    relative = float(CONFIDENCE * u * np.sqrt(2 * lengths) * magnified)

    def scale(size: Callable[[Units], float]) -> float:
        return float((max(map(size, z)) + max(map(size, e)) / sigma) ** 2 / len(x))

    return HessianRounding(
        entry=relative * scale(lambda array: float(np.linalg.norm(array, axis=0).max())),
        eigenvalue=len(weights) * relative * scale(lambda array: float(np.linalg.norm(array, 2))),
    )


@dataclass(frozen=True, slots=True)
class InnerSystem:
    """What may be left of the inner system ``𝓕_zz δz = -𝓕_zθ V``, for ``V`` of unit length."""

    rounding: float  # the relative residual that rounding leaves
    weight: float  # how far an image is off for a relative residual of 1


def inner_system(
    network: Layered, activities: Sequence[Batch], u: float, precision: Precision | None = None
) -> InnerSystem:
    """Bound what may be left of the inner system at equilibrium activities.

    They must be a minimum of the energy: elsewhere there is no such Hessian.
    """
    forces = weighted_errors(network, activities, precision)
    curvature = float(np.min(least_curvatures(network, activities, precision)))
    if curvature <= 0:
        raise ValueError("these activities are no minimum of the energy: it curves downwards")
    n = len(activities[0])
    lengths = n + sum(activity.shape[1] for activity in activities)
    # A precision weighs the last map by its root (equilibrium.py).
    heavy = 1.0 if precision is None else max(1.0, float(np.max(precision)))
    condition = (1 + max(map(_norm, network.weights)) * heavy**0.5) ** 2 / curvature
    return InnerSystem(
        rounding=float(CONFIDENCE * u * np.sqrt(2 * lengths) * condition),
        weight=float(heavy * _size(network, activities, forces) / curvature),
    )


def product_floor(
    network: Layered, activities: Sequence[Batch], forces: Sequence[Batch], u: float
) -> float:
    """One rounding of the largest terms: what is allowed where sums of zeros have none."""
    return CONFIDENCE * u * _size(network, activities, forces)


def _size(network: Layered, activities: Sequence[Batch], forces: Sequence[Batch]) -> float:
    """``(ẑ + ĝ)² (1 + |g|_∞)² / N``."""
    # A kernel of side k meets every pixel k² times.
    sides = [weight.shape[-1] if weight.ndim == 4 else 1 for weight in network.weights]
    z = max(side * float(np.linalg.norm(a, 2)) for side, a in zip(sides, activities, strict=False))
    g = max(float(np.linalg.norm(force, 2)) for force in forces)
    bent = 1 + max(float(np.abs(force).max(initial=0)) for force in forces)
    return float((z + g) ** 2 * bent**2 / len(activities[0]))


def _norm(weight: Float[np.ndarray, "_out ..."]) -> float:
    """``‖A‖``, of a convolution no less than that."""
    if weight.ndim == 2:
        return float(np.linalg.norm(weight, 2))
    places = np.ndindex(*weight.shape[2:])
    return sum(float(np.linalg.norm(weight[:, :, p, q], 2)) for p, q in places)
