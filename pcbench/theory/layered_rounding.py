r"""How far rounding may carry an honest evaluation of a non-linear network's energy (§4).

No closed form is at stake here: activities are given, and errors, energies, slopes and gradients
are evaluated at them. An inner product of length ``n`` errs by ``λ u √(2n) ‖a‖‖b‖`` at most (see
``rounding.py``), and no activation magnifies an error by more than ``1.1`` (the largest slope of
SiLU). Norms are Frobenius's over the batch.

Within its rounding of a kink, the slope of a rectifier is either side's. What that may change is
added up from the units that are so near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcbench.theory.layered import (
    LEAK,
    Batch,
    Layered,
    Precision,
    activate,
    affine,
    layer,
    layered_errors,
    weigh,
    weighted_errors,
)
from pcbench.theory.rounding import CONFIDENCE

STEEPEST = 1.1
"""No activation has a larger slope: SiLU's is 1.0998 at most."""


@dataclass(frozen=True, slots=True)
class LayeredRounding:
    """Absolute bounds on the rounding of what is evaluated at given activities.

    Attributes
    ----------
    errors
        On ``e_l``, one a layer.
    energies
        On ``1/(2N) Σ_n ‖e_l‖²``, one a layer.
    residual
        On ``‖∂(N𝓕)/∂z‖`` over all hidden activities.
    gradients
        On ``∂𝓕/∂A_l``, one a layer.
    biases
        On ``∂𝓕/∂b_l``, one a layer.
    """

    errors: tuple[float, ...]
    energies: tuple[float, ...]
    residual: float
    gradients: tuple[float, ...]
    biases: tuple[float, ...]


def layered_rounding(
    network: Layered, activities: Sequence[Batch], u: float, precision: Precision | None = None
) -> LayeredRounding:
    """Bound the rounding, at unit roundoff ``u``, of what is evaluated at ``z_0 … z_L``."""
    n = len(activities[0])
    plain = layered_errors(network, activities)
    plain[-1] = weigh(plain[-1], precision)[0]  # what is not observed is no number, perhaps
    forces = weighted_errors(network, activities, precision)
    weight_of_output = 1.0 if precision is None else float(np.max(precision, initial=1.0))
    errors, energies, gradients, biases, kinks = [], [], [], [], []
    for l in range(1, network.depth + 1):
        below, force = activities[l - 1], forces[l - 1]
        before, _ = network.activations(l)
        driven = activate(before, below)
        seen = CONFIDENCE * u * _length(network, l) * np.linalg.norm(driven, axis=1, keepdims=True)
        above = _norm(plain[l - 1]) + _norm(layer(network, l, below))
        error = STEEPEST**2 * _norm(seen) + 8 * u * above
        factor = weight_of_output if l == network.depth else 1.0
        size, summed = _norm(force), 1 + np.sqrt(2 * force.size)
        errors.append(error)
        energies.append(
            (2 * size * error + factor * error**2) / (2 * n)
            + CONFIDENCE * u * summed * size * _norm(plain[l - 1]) / (2 * n)
        )
        kinks.append(_kinks(network, l, below, force, seen))
        products = CONFIDENCE * u * np.sqrt(2 * n * _places(network, l))
        moved = STEEPEST * (factor * error + products * size + kinks[-1])
        gradients.append(moved * _patches(network, l) * _norm(driven) / n)
        biases.append(moved * np.sqrt(n * _places(network, l)) / n)
    squares = 0.0
    for l in range(1, network.depth):
        factor = weight_of_output if l + 1 == network.depth else 1.0
        pulled = STEEPEST * _reach(network, l + 1)
        products = CONFIDENCE * u * _back_length(network, l + 1) * _norm(forces[l])
        squares += (
            errors[l - 1] + pulled * (factor * errors[l] + kinks[l]) + STEEPEST**2 * products
        ) ** 2
    return LayeredRounding(
        tuple(map(float, errors)),
        tuple(map(float, energies)),
        float(np.sqrt(squares)),
        tuple(map(float, gradients)),
        tuple(map(float, biases)),
    )


def _kinks(
    network: Layered, l: int, below: Batch, force: Batch, seen: Float[np.ndarray, "N 1"]
) -> float:
    """What the slope of the other side would change of ``φ' e``, over the units at a kink.

    Only where the activation comes after the product: what comes before it sees activities, which
    are given, and given exactly.
    """
    before, after = network.activations(l)
    jump = {"relu": 1.0, "leaky_relu": 1 - LEAK}.get(after, 0.0)
    if not jump:
        return 0.0
    near = np.abs(affine(network, l, activate(before, below))) <= seen
    if near.shape == force.shape:
        return jump * _norm(force * near)
    largest = np.abs(force).max(axis=1)  # pooled: any of the forces may be that unit's
    return jump * float(np.sqrt(np.sum(near.sum(axis=1) * largest**2)))


def _norm(array: Batch) -> float:
    return float(np.linalg.norm(array))


def _length(network: Layered, l: int) -> float:
    """``√(2n) ‖A_l‖`` of the inner products that make a potential, image patches included."""
    weight = network.weights[l - 1]
    fan_in = weight.size // len(weight)
    return float(np.sqrt(2 * fan_in + 2) * np.linalg.norm(weight)) * _patches(network, l)


def _back_length(network: Layered, l: int) -> float:
    """The same of those that pull errors back."""
    weight = network.weights[l - 1]
    fan_out = weight.size // weight.shape[1]
    return float(np.sqrt(2 * fan_out) * np.linalg.norm(weight)) * _patches(network, l)


def _reach(network: Layered, l: int) -> float:
    """A bound on ``‖A_l‖_2``."""
    weight = network.weights[l - 1]
    if weight.ndim == 2:
        return float(np.linalg.norm(weight, 2))
    return float(np.linalg.norm(weight)) * _patches(network, l)


def _patches(network: Layered, l: int) -> float:
    """``k`` of a convolution: a pixel is seen ``k²`` times; 1 of a matrix."""
    weight = network.weights[l - 1]
    return float(weight.shape[-1]) if weight.ndim == 4 else 1.0


def _places(network: Layered, l: int) -> int:
    """Over how many places of an image a kernel's gradient is summed."""
    if not network.is_convolution(l):
        return 1
    _, height, width = network.images[l - 1]
    return height * width
