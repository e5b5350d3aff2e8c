r"""Activations and their derivatives: by a formula each, or from ``φ`` alone by Taylor arithmetic.

Of an activation that is added to pcbench from outside the theory takes ``φ``, which defines what is
asked of a backend, and neither ``φ'`` nor ``φ''``, which backends compute with and may have wrong.
Both follow from ``φ`` by carrying ``(f, f', f'')`` through its formula,

.. math::
    (g ∘ f)' = g'(f) f', \qquad (g ∘ f)'' = g''(f) f'^2 + g'(f) f'',

which is exact to rounding (Griewank & Walther 2008, chapter 13). Differences would lose half of the
digits, and complex steps take no formula with ``abs`` in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from pcbench.theory.arrays import Batch

Entries = Float[np.ndarray, "..."]

KINKED = ("relu", "leaky_relu")
LEAK = 0.01
"""Slope of ``leaky_relu`` for negative inputs, and at 0."""

STEEPEST = 1.1
"""No activation among these is steeper; SiLU is as steep as 1.0998."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A smooth activation by its formula."""

    formula: Callable[[Any, Any], Any]  # φ(xp, a), with xp's functions: those of Functions
    steepest: float  # a bound on |φ'|

    def at(self, z: Entries) -> Taylor:
        """``φ``, ``φ'`` and ``φ''`` at each entry."""
        with np.errstate(all="ignore"):
            return _lifted(self.formula(Functions, Taylor(z, np.ones_like(z), np.zeros_like(z))), z)


Activation = str | Formula
"""One of ``ACTIVATIONS``, whose formulas are here, or a formula from outside."""


# φ, φ' and φ''; at a kink, the slope to its left, and no curvature.
_FUNCTIONS: Mapping[str, Sequence[Callable[[Batch], Batch]]] = {
    "identity": (lambda z: z, np.ones_like, np.zeros_like),
    "tanh": (
        np.tanh,
        lambda z: 1 - np.tanh(z) ** 2,
        lambda z: -2 * np.tanh(z) * (1 - np.tanh(z) ** 2),
    ),
    "relu": (lambda z: np.maximum(z, 0), lambda z: np.where(z > 0, 1.0, 0.0), np.zeros_like),
    "leaky_relu": (
        lambda z: np.where(z > 0, z, LEAK * z),
        lambda z: np.where(z > 0, 1.0, LEAK),
        np.zeros_like,
    ),
    "silu": (
        lambda z: z * expit(z),
        lambda z: expit(z) * (1 + z * expit(-z)),
        lambda z: expit(z) * expit(-z) * (2 + z * (expit(-z) - expit(z))),
    ),
}
ACTIVATIONS = tuple(_FUNCTIONS)


def activate(name: Activation, z: Batch) -> Batch:
    """``φ(z)``."""
    return name.at(z).value if isinstance(name, Formula) else _FUNCTIONS[name][0](z)


def activation_slope(name: Activation, z: Batch) -> Batch:
    """``φ'(z)``; at a kink, the slope to its left."""
    return name.at(z).slope if isinstance(name, Formula) else _FUNCTIONS[name][1](z)


def activation_curvature(name: Activation, z: Batch) -> Batch:
    """``φ''(z)``; 0 of what is straight or kinked."""
    return name.at(z).curvature if isinstance(name, Formula) else _FUNCTIONS[name][2](z)


@dataclass(frozen=True, slots=True, eq=False)
class Taylor:
    """A function of each entry with its first two derivatives."""

    value: Entries
    slope: Entries
    curvature: Entries

    __array_ufunc__ = None  # arrays leave arithmetic with these to them

    @property
    def real(self) -> Taylor:
        """All of it."""
        return self

    def __neg__(self) -> Taylor:
        return Taylor(-self.value, -self.slope, -self.curvature)

    def __add__(self, other: Any) -> Taylor:
        b = _lifted(other, self.value)
        return Taylor(self.value + b.value, self.slope + b.slope, self.curvature + b.curvature)

    def __sub__(self, other: Any) -> Taylor:
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> Taylor:
        return self.__neg__().__add__(other)

    def __mul__(self, other: Any) -> Taylor:
        a, b = self, _lifted(other, self.value)
        return Taylor(
            a.value * b.value,
            a.slope * b.value + a.value * b.slope,
            a.curvature * b.value + 2 * a.slope * b.slope + a.value * b.curvature,
        )

    def __truediv__(self, other: Any) -> Taylor:
        return self * _lifted(other, self.value)._reciprocal()

    def __rtruediv__(self, other: Any) -> Taylor:
        return self._reciprocal().__mul__(other)

    def __pow__(self, n: float) -> Taylor:
        a = self.value
        slope = n * a ** (n - 1) if n else 0 * a
        curvature = n * (n - 1) * a ** (n - 2) if n not in (0, 1) else 0 * a
        return self._through(a**n, slope, curvature)

    __radd__ = __add__
    __rmul__ = __mul__

    def __lt__(self, other: Any) -> Bool[np.ndarray, "..."]:
        return self.value < _lifted(other, self.value).value

    def __le__(self, other: Any) -> Bool[np.ndarray, "..."]:
        return self.value <= _lifted(other, self.value).value

    def __gt__(self, other: Any) -> Bool[np.ndarray, "..."]:
        return self.value > _lifted(other, self.value).value

    def __ge__(self, other: Any) -> Bool[np.ndarray, "..."]:
        return self.value >= _lifted(other, self.value).value

    def _through(self, value: Entries, slope: Entries, curvature: Entries) -> Taylor:
        """``g`` of this, from ``g``, ``g'`` and ``g''`` at its value."""
        return Taylor(value, slope * self.slope, curvature * self.slope**2 + slope * self.curvature)

    def _reciprocal(self) -> Taylor:
        inverse = 1 / self.value
        return self._through(inverse, -(inverse**2), 2 * inverse**3)


def _function(derivatives: Callable[[Entries], tuple[Entries, Entries, Entries]]) -> Any:
    """Return a function of a :class:`Taylor` argument, from ``g``, ``g'`` and ``g''``."""
    return staticmethod(lambda a: a._through(*derivatives(a.value)))


class Functions:
    """The namespace that a formula is given: its functions, of a :class:`Taylor` argument.

    Where a formula is written in two pieces, their border belongs to the left one.
    """

    exp = _function(lambda a: (np.exp(a), np.exp(a), np.exp(a)))
    expm1 = _function(lambda a: (np.expm1(a), np.exp(a), np.exp(a)))
    log = _function(lambda a: (np.log(a), 1 / a, -1 / a**2))
    log1p = _function(lambda a: (np.log1p(a), 1 / (1 + a), -((1 / (1 + a)) ** 2)))
    tanh = _function(
        lambda a: (np.tanh(a), 1 / np.cosh(a) ** 2, -2 * np.tanh(a) * (1 / np.cosh(a) ** 2))
    )
    sin = _function(lambda a: (np.sin(a), np.cos(a), -np.sin(a)))
    cos = _function(lambda a: (np.cos(a), -np.sin(a), -np.cos(a)))
    sqrt = _function(lambda a: (np.sqrt(a), 0.5 / np.sqrt(a), -0.25 / np.sqrt(a) ** 3))
    abs = _function(
        lambda a: (np.abs(a), np.where(a > 0, 1.0, -1.0), 0 * np.where(a > 0, 1.0, -1.0))
    )

    @staticmethod
    def where(condition: Bool[np.ndarray, "..."], a: Any, b: Any) -> Taylor:
        """``a`` where the condition holds, ``b`` elsewhere."""
        like = (a if isinstance(a, Taylor) else b).value
        a, b = _lifted(a, like), _lifted(b, like)
        return Taylor(
            np.where(condition, a.value, b.value),
            np.where(condition, a.slope, b.slope),
            np.where(condition, a.curvature, b.curvature),
        )


def _lifted(a: Any, like: Entries) -> Taylor:
    """Take a number for a constant function."""
    if isinstance(a, Taylor):
        return a
    return Taylor(np.full_like(like, a), np.zeros_like(like), np.zeros_like(like))
