r"""Derivatives along a line by finite differences of fourth order.

With ``f_k`` at ``θ + k h v``,

.. math::
    f' ≈ \frac{8 (f_1 - f_{-1}) - (f_2 - f_{-2})}{12 h}, \qquad
    f'' ≈ \frac{16 (f_1 + f_{-1}) - (f_2 + f_{-2}) - 30 f_0}{12 h^2} .

They leave out a term in ``h⁴``, of which the same differences with ``2h`` have sixteen times as
much: how far the two are apart bounds it fifteen times over. What values are off by, they magnify
by up to ``3/2h`` and ``16/3h²``.

On a landscape the step is ``h = u^{1/6}``, of a unit vector among weights of order one: it balances
for the curvature what is left out against what values are off by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pcbench.contract import Objective
from pcbench.judges.points import Point, PointJudge, Points, joined

_FIRST = {1: 8 / 12, 2: -1 / 12}
_SECOND = {1: 16 / 12, 2: -1 / 12}
_SECOND_AT_CENTRE = -30 / 12


def first_derivative(values: Mapping[int, Any], h: float = 1.0, every: int = 1) -> Any:
    """Take the first derivative from steps of ``every · h``; of arrays, entry by entry."""
    total = sum(weight * (values[k * every] - values[-k * every]) for k, weight in _FIRST.items())
    return total / (every * h)


def second_derivative(values: Mapping[int, Any], h: float = 1.0, every: int = 1) -> Any:
    """Take the second derivative, in the same way."""
    total = _SECOND_AT_CENTRE * values[0] + sum(
        weight * (values[k * every] + values[-k * every]) for k, weight in _SECOND.items()
    )
    return total / (every * h) ** 2


REACH = (-4, -2, -1, 1, 2, 4)
"""Multiples of the step at which a line is evaluated, beside its centre."""


def step_of(u: float) -> float:
    """``h``, for a unit roundoff ``u``."""
    return float(u ** (1 / 6))


def line(centre: Point, direction: Point, h: float) -> Points:
    """The points of a line beside its centre, one a row."""
    return centre + h * np.outer(REACH, direction)


@dataclass(frozen=True, slots=True)
class Line:
    """A line along a unit vector, judged at multiples of ``h``, the centre first.

    Derivatives come from values, with a bound on how far they may be from the truth.
    """

    h: float
    direction: Point
    judges: dict[int, PointJudge]

    def derivatives(
        self, objective: Objective, gradient: Point, product: Point
    ) -> Iterator[tuple[float, float]]:
        """``d/dt`` and ``d²/dt²`` of an objective's values, as the derivatives should have them.

        ``gradient`` and ``product``, the Hessian times the direction, are those at the centre: they
        carry points that rounding put off the line back to it.
        """
        centre, values, off = self.judges[0], {}, {}
        for k, judge in self.judges.items():
            t = k * self.h
            there, here = (joined(each.answer.problem.parameters) for each in (judge, centre))
            aside = there - here - t * self.direction
            carried = float(gradient @ aside) + t * float(product @ aside)
            values[k] = judge.answer.value(objective) - carried
            off[k] = judge.uncertainty(objective, centre.least_curvature)
        for derivative in (first_derivative, second_derivative):
            once, twice = derivative(values, self.h, 1), derivative(values, self.h, 2)
            weights = {
                k: abs(derivative({j: float(j == k) for j in values}, self.h, 1)) for k in values
            }
            yield once, abs(once - twice) + sum(weight * off[k] for k, weight in weights.items())

    @property
    def drift(self) -> tuple[float, float]:
        """``‖dz/dt‖`` and ``‖d²z/dt²‖`` of all hidden activities at equilibrium.

        A force ``ρ`` that inference left at the centre puts its gradient and its Hessian off by
        ``⟨ρ, dz/dt⟩/N`` and ``⟨ρ, d²z/dt²⟩/N`` along the line, to first order: differentiate
        ``𝓕_z(θ, z*) = 0`` once and twice, and expand ``𝓕_θ v`` and ``vᵀ ∇²𝓕* v`` in ``δz``.
        """
        activities = {k: judge.answer.result.hidden for k, judge in self.judges.items()}
        first = float(np.linalg.norm(first_derivative(activities, self.h, 1)))
        return first, float(np.linalg.norm(second_derivative(activities, self.h, 1)))
