r"""How far rounding may carry an honest evaluation of a network's energy at given activities (§4).

No closed form is at stake here: activities are given, and errors, energies, slopes and gradients
are evaluated at them. Nothing travels further than from a potential to the units around it, so that
the variances of ``units.py`` add up as they stand: with independent errors ``δ_i``,

.. math:: E ‖Σ_i δ_i v_i‖^2 = Σ_i \mathrm{Var}(δ_i) ‖v_i‖^2 ,

which is what stochastic arithmetic (``stochastic.py``) would find with ever more repetitions.
What a norm may be then is in ``summation.py``, and what kinks and ties may change comes on
top. An energy errs by ``⟨π e, δe⟩`` and by ``½ ⟨π δe, δe⟩``, and by its summation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Batch
from pcbench.theory.nonlinear.layered import Layered, Precision
from pcbench.theory.rounding.bounds import CONFIDENCE, of_both
from pcbench.theory.rounding.summation import norm_bound, rounded_product, rounded_sum
from pcbench.theory.rounding.underflow import SMALLEST, norm_underflow, underflow
from pcbench.theory.rounding.units import UnitRounding, pull_rounding, unit_roundings

PerSample = Float[np.ndarray, " N"]


@dataclass(frozen=True, slots=True)
class LayeredRounding:
    """Absolute bounds on the rounding of what is evaluated at given activities."""

    errors: tuple[float, ...]  # e_l, Frobenius norm, one a layer
    energies: tuple[float, ...]  # 1/(2N) Σ_n e_lᵀ π e_l, one a layer
    sample_energies: tuple[float, ...]  # ½ Σ_l e_lᵀ π e_l, one a sample
    residual: float  # ‖∂(N𝓕)/∂z‖ over all hidden activities
    sample_residuals: tuple[float, ...]  # the same, one a sample
    gradients: tuple[float, ...]  # ∂𝓕/∂A_l, Frobenius norm, one a layer
    biases: tuple[float, ...]  # ∂𝓕/∂b_l, one a layer


# Gradients are products: of an answer that diverged theirs alone may overflow, to no bound at all.
@np.errstate(over="ignore", invalid="ignore")
def layered_rounding(
    network: Layered, activities: Sequence[Batch], u: float, precision: Precision | None = None
) -> LayeredRounding:
    """Bound the rounding, at unit roundoff ``u``, of what is evaluated at ``z_0 … z_L``."""
    units, u, n = unit_roundings(network, activities, u, precision), of_both(u), len(activities[0])
    by_sample = sum((_half_squares(unit, u, together=False) for unit in units), np.zeros(n))
    by_layer = [float(_half_squares(unit, u, together=True)[0]) / n for unit in units]
    residual, residuals = _residuals(network, activities, units, u)
    parameters = [parameter_rounding(network, l, unit, u) for l, unit in enumerate(units, start=1)]
    lost = underflow(
        network.weights,
        [*activities, *(unit.error for unit in units), units[-1].force],
        carried=False,
        steepest=network.steepest,
    )
    return LayeredRounding(
        errors=tuple(vector_bound(unit.error_std, unit, u) + lost for unit in units),
        energies=tuple(energy + lost for energy in by_layer),
        sample_energies=tuple((by_sample + lost).tolist()),
        residual=residual + lost,
        sample_residuals=tuple((residuals + lost).tolist()),
        gradients=tuple(weight + lost for weight, _ in parameters),
        biases=tuple(bias + lost for _, bias in parameters),
    )


def vector_bound(std: Batch, unit: UnitRounding, u: float) -> float:
    """Bound the rounding of ``e_l``, or of what else a unit makes of what it inherits."""
    total, worst = np.sum(std**2), np.max(_along(std, unit) ** 2)
    return u * float(norm_bound(float(total), float(worst)))


def _along(std: Batch, unit: UnitRounding) -> PerSample:
    """Standard deviation along the worst direction, of units that share what they inherit."""
    along: PerSample = np.hypot(std.max(axis=1), unit.shared)
    return along


def _half_squares(unit: UnitRounding, u: float, *, together: bool) -> PerSample:
    """Bound the rounding of ``½ eᵀ π e``, its terms' and their sum's: of all samples, or each."""
    shape = (1, -1) if together else unit.error.shape
    parts = (unit.error, unit.error_std, unit.force, unit.force_std)
    # In units of their own, as squares of squares overflow long before an energy does.
    size = np.maximum(np.max(np.abs(parts), axis=0).reshape(shape).max(axis=1), SMALLEST)
    error, error_std, force, force_std = (one.reshape(shape) / size[:, None] for one in parts)
    terms = np.sum((force * error_std) ** 2, axis=1) + rounded_sum(error * force) / 4
    second, scale = np.sum(error_std * force_std, axis=1) / 2, CONFIDENCE * u
    bound: PerSample = size**2 * (scale * np.sqrt(terms) + scale**2 * second)
    return bound


def _residuals(
    network: Layered, activities: Sequence[Batch], units: Sequence[UnitRounding], u: float
) -> tuple[float, PerSample]:
    """Bound the rounding of the norm of ``e_l - (∂f_{l+1}/∂z)ᵀ (π e)_{l+1}``: of all, and of each.

    What a potential errs moves the error of its unit and the pulls on all below. The two change by
    no more than their standard deviation, and that of forces times their reach.
    """
    if network.depth == 1:
        return 0.0, np.zeros(len(activities[0]))
    total, here, below, own, flips, squares = np.zeros((6, len(activities[0])))
    for l in range(1, network.depth):
        pull = pull_rounding(network, l + 1, activities[l], units[l])
        difference = (units[l - 1].error - pull.pulled) ** 2
        alone = pull.own + difference
        squares += difference.sum(axis=1)
        total += np.sum(units[l - 1].error_std ** 2 + pull.brought + alone, axis=1)
        here = np.maximum(here, _along(units[l - 1].error_std, units[l - 1]))
        below = np.maximum(below, pull.reach * _along(units[l].back_std, units[l]))
        own = np.maximum(own, alone.max(axis=1))
        flips += np.sum(pull.flips**2, axis=1)
    worst = (here + below) ** 2 + own
    whole = u * float(norm_bound(float(np.sum(total)), float(np.max(worst))))
    units_each = sum(z.shape[1] for z in activities[1:-1])
    lost = norm_underflow(float(np.sqrt(np.sum(squares))), units_each * len(squares))
    return (
        whole + float(np.sqrt(np.sum(flips)) + lost),
        u * norm_bound(total, worst)
        + np.sqrt(flips)
        + norm_underflow(np.sqrt(squares), units_each),
    )


def parameter_rounding(
    network: Layered, l: int, unit: UnitRounding, u: float
) -> tuple[float, float]:
    """Bound the rounding of ``∂𝓕/∂A_l`` and ``∂𝓕/∂b_l``, given the unit's forces.

    Both are sums over samples and places, of rows of what the layer sees, and of ones. Rows of the
    gradient are independent, so the worst direction is within one; all rows of one column share
    what is inherited.
    """
    linear = network.linear(l)
    rows = linear.rows(unit.driven)
    back, std, flips = map(linear.by_place, (unit.back, unit.back_std, unit.flips))
    bounds = []
    for seen, inherited in ((rows, unit.inherited), (np.ones((len(rows), 1)), 0.0)):
        gradient, variance = rounded_product(back.T, seen, inherited=inherited)
        # Divided by N, and perhaps the mean of a weighted batch before that.
        by_row = np.sum(variance + 2 * gradient**2, axis=1)
        by_row += (std**2).T @ np.sum(seen**2, axis=1)
        by_column = inherited**2 * np.sum(back**2, axis=1) @ seen**2
        worst = float(np.max(by_row)) + float(np.max(by_column))
        spread = u * float(norm_bound(float(np.sum(by_row)), worst))
        doubts = float(np.linalg.norm(flips.T @ np.abs(seen)))
        bounds.append((spread + doubts) / len(unit.error))
    return bounds[0], bounds[1]
