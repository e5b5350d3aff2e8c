r"""How far rounding may carry a Hessian product, and an inner solve that stopped (§4).

A product has no closed form whose rounding could be followed by hand, but it can be tried: an inner
product of ``n`` terms has rounding of standard deviation up to ``u √(2n) ‖a‖ ‖b‖``, and so has one
whose factors are exact but for independent relative errors of ``√2 n u``. The theory's own product
is therefore made once more, of a network, activities and a direction with such errors, ``n`` being
the longest sum that they enter. How far that carries the image, as one vector of many entries, is
close to its standard deviation; ``λ = 8`` times it is allowed.

Errors are of the dtype's own size, not of one that is scaled to it afterwards: inner solves of a
condition up to ``10^12`` are judged, and bend long before an error of ``2^-30``. In float64 that is
the size of the judge's own rounding, and still no perturbation vanishes: none has a standard
deviation below ``√2 u``, which is 0.7 of the last digit or more. What the judge rounds itself comes
on top, in both products; it can only add to what is seen, and has to be allowed as well.

Activities that are a minimum, with least curvature ``σ² = λ_min(𝓕_zz)`` of a sample, tell what an
inner solve may leave: with ``ẑ`` and ``ĝ`` the largest spectral norms of activities and of forces,
a unit direction has a right-hand side of at most ``ẑ + ĝ``, so a relative residual ``ρ`` moves the
image by at most ``ρ (ẑ + ĝ)² (1 + |g|_∞)² / (σ² N)``, where forces bend layers by ``|g|_∞``. What
rounding leaves of it is ``λ u √(2n) κ``, with ``κ ≤ ((1 + max ‖A_l‖)/σ)²``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pcbench.theory.nonlinear.curvature import least_curvatures
from pcbench.theory.nonlinear.layered import Batch, Layered, Precision, weighted_errors
from pcbench.theory.nonlinear.second_order import Parameters
from pcbench.theory.rounding.bounds import CONFIDENCE


@dataclass(frozen=True, slots=True)
class InnerSystem:
    """What may be left of the inner system ``𝓕_zz δz = -𝓕_zθ V``, for ``V`` of unit length.

    Attributes
    ----------
    rounding
        The relative residual that rounding leaves.
    weight
        How far an image is off for a relative residual of 1.
    """

    rounding: float
    weight: float


def inner_system(
    network: Layered,
    activities: Sequence[Batch],
    u: float,
    precision: Precision | None = None,
) -> InnerSystem:
    """Bound what may be left of the inner system at equilibrium activities.

    Raises
    ------
    ValueError
        If they are no minimum of the energy: then there is no such Hessian.
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


def with_rounding(
    network: Layered,
    activities: Sequence[Batch],
    direction: Parameters,
    u: float,
    rng: np.random.Generator,
) -> tuple[Layered, list[Batch], list[Float[np.ndarray, "..."]]]:
    """Return all that a product is made of, with relative errors of ``√2 n u``.

    Parameters
    ----------
    network
        The network.
    activities
        ``z_0 … z_L``; of the loss, inputs and targets are enough.
    direction
        Like the parameters: weights, then biases.
    u
        Unit roundoff.
    rng
        Draws the errors.
    """
    longest = max(len(activities[0]), *(weight[0].size for weight in network.weights))
    size = np.sqrt(2) * longest * u

    def off(array: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return np.asarray(array * (1 + size * rng.standard_normal(array.shape)))

    biases = None if network.biases is None else [off(bias) for bias in network.biases]
    moved = replace(network, weights=[off(weight) for weight in network.weights], biases=biases)
    return moved, [off(z) for z in activities], [off(part) for part in direction]


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
