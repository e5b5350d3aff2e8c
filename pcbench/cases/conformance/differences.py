r"""Derivatives along a line of parameters, from values on it.

The line goes through one array of parameters, in steps ``δ`` that are whole multiples of a grid on
which the whole line can be represented: nothing is rounded but the values. With ``f_k`` at ``θ + k
δ``, differences of fourth order are

.. math::
    D_m = \frac{8 (f_m - f_{-m}) - (f_{2m} - f_{-2m})}{12 m} ,

and ``D_1`` leaves out a fifteenth of ``D_1 - D_2``, up to sixth order, which is a sixteenth of
``D_2 - D_4``. The whole of the first and a sixteenth of the second are allowed: where one happens
to vanish, the other does not. What values are off by, they magnify by up to ``3/2``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from pcbench.contract import DType
from pcbench.judges.differences import first_derivative
from pcbench.judges.problem import Problem
from pcbench.theory.nonlinear import layered
from pcbench.theory.nonlinear.layered import feedforward
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.range import UndecidableError

Array = Float[np.ndarray, "..."]

REACH = (-8, -4, -2, -1, 1, 2, 4, 8)
"""Multiples of the step at which a line is evaluated, beside its centre."""

CARRIED = 2 * (8 + 1) / 12
"""What a bound on values becomes of their difference."""

BY_DIFFERENCES = "what differences of three steps leave out, and rounding (theory.md 4)"
"""Where the tolerance of a derivative by differences comes from."""

_PROBE = 1e-6


@dataclass(frozen=True, slots=True)
class Line:
    """A line of problems that differ in one array of parameters."""

    problems: dict[int, Problem]
    """By multiple of the step, 0 for the centre."""
    step: list[Array]
    """``δ``, one array for each of the parameters; all but one of them are zero."""

    @property
    def centre(self) -> Problem:
        """Where the derivative is."""
        return self.problems[0]

    @property
    def ends(self) -> tuple[Problem, Problem]:
        """Where rounding is largest: its bounds are norms, and so convex along a line."""
        return self.problems[REACH[0]], self.problems[REACH[-1]]

    def along(self, gradient: list[Array]) -> float:
        """The derivative that a gradient has along a step."""
        return float(sum(np.sum(g * part) for g, part in zip(gradient, self.step, strict=True)))


def line(
    problem: Problem,
    dtype: DType,
    rng: np.random.Generator,
    activities: list[Array] | None = None,
    *,
    short: bool = False,
) -> Line:
    """Draw a line through a problem, on the grid of a dtype.

    Along it no potential moves by more than the sixth root of the roundoff a step, which balances
    what differences leave out against what they magnify; and parameters do not grow so large that
    those at the centre lose more than half their digits on the common grid.

    Parameters
    ----------
    activities
        That are held; those of a forward pass follow, if not given.
    short
        Whether weights are to move by no more than potentials, either: where activities relax,
        their equilibrium depends on weights by themselves.

    Raises
    ------
    UndecidableError
        If parameters are so large that no such step is left on the grid.
    """
    parameters = problem.parameters
    chosen = int(rng.integers(len(parameters)))
    direction = rng.standard_normal(parameters[chosen].shape)
    speed = _speed(problem, chosen, direction, activities)
    if short:
        speed = max(speed, float(np.linalg.norm(direction)))
    u = unit_roundoff(dtype)
    # Where activities are tiny, what moves potentials that far may not even fit the dtype.
    most = (float(np.abs(parameters[chosen]).max()) or 1.0) / u**0.5
    length = min(u ** (1 / 6) / speed, most / (max(REACH) * float(np.abs(direction).max())))
    centre, step = _on_a_grid(parameters[chosen], length * direction, dtype)
    if not step.any():
        raise UndecidableError(
            f"a step that moves no potential too far is lost in the rounding of parameters that "
            f"reach {float(np.abs(centre).max()):.2g}"
        )

    def at(multiple: int) -> Problem:
        moved = [*parameters]
        moved[chosen] = centre + multiple * step
        return problem.at(moved)

    steps = [step if i == chosen else np.zeros_like(p) for i, p in enumerate(parameters)]
    return Line({k: at(k) for k in (0, *REACH)}, steps)


def first(values: Mapping[int, Any]) -> tuple[Any, float]:
    """``D_1``, of numbers or arrays, and how far it may be from the derivative, in the norm."""
    once, twice, wide = (first_derivative(values, every=m) for m in (1, 2, 4))
    off = float(np.linalg.norm(once - twice)) + float(np.linalg.norm(twice - wide)) / 16
    return once, off


def _speed(
    problem: Problem, chosen: int, direction: Array, activities: list[Array] | None
) -> float:
    """How fast the fastest potential moves along the direction, or 1 if none does."""

    def potentials(there: Problem) -> list[Array]:
        network = there.layered
        return layered.potentials(network, activities or feedforward(network, there.x))

    moved = [*problem.parameters]
    probe = _PROBE * (1 + float(np.abs(moved[chosen]).max())) / float(np.abs(direction).max())
    moved[chosen] = moved[chosen] + probe * direction
    pairs = zip(potentials(problem), potentials(problem.at(moved)), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs) / probe or 1.0


def _on_a_grid(array: Array, step: Array, dtype: DType) -> tuple[Array, Array]:
    """Round both so that every point of the line fits the dtype."""
    most = float(np.abs(array).max()) + max(REACH) * float(np.abs(step).max())
    grid = 2.0 ** np.ceil(np.log2(most)) * unit_roundoff(dtype) * 2
    return np.round(array / grid) * grid, np.round(step / grid) * grid
