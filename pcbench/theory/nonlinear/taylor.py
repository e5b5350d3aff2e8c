r"""Activations that come as a formula for ``φ``, and their derivatives by Taylor arithmetic.

Of an activation that is added to pcbench from outside the theory has no formula of its own. It
takes ``φ``, which defines what is asked of a backend, and nothing else: neither ``φ'`` nor ``φ''``,
which backends compute with and may have wrong. Both follow from ``φ`` by carrying ``(f, f', f'')``
through its formula,

.. math::
    (g ∘ f)' = g'(f) f', \qquad (g ∘ f)'' = g''(f) f'^2 + g'(f) f'',

which is exact to rounding (Griewank & Walther 2008, chapter 13). Differences would lose half of the
digits, and complex steps take no formula with ``abs`` in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

Entries = Float[np.ndarray, "..."]


@dataclass(frozen=True, slots=True)
class Formula:
    """A smooth activation by its formula.

    Parameters
    ----------
    formula
        ``φ(xp, a)``, in functions of the namespace ``xp``: those of :class:`Functions`.
    steepest
        A bound on ``|φ'|``.
    """

    formula: Callable[[Any, Any], Any]
    steepest: float

    def value(self, z: Entries) -> Entries:
        """``φ(z)``."""
        return self.expanded(z).value

    def slope(self, z: Entries) -> Entries:
        """``φ'(z)``."""
        return self.expanded(z).slope

    def curvature(self, z: Entries) -> Entries:
        """``φ''(z)``."""
        return self.expanded(z).curvature

    def expanded(self, z: Entries) -> Taylor:
        """``φ``, ``φ'`` and ``φ''`` at each entry."""
        with np.errstate(all="ignore"):
            return _lifted(self.formula(Functions, Taylor(z, np.ones_like(z), np.zeros_like(z))), z)


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
        return self.through(a**n, slope, curvature)

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

    def through(self, value: Entries, slope: Entries, curvature: Entries) -> Taylor:
        """``g`` of this, from ``g``, ``g'`` and ``g''`` at its value."""
        return Taylor(value, slope * self.slope, curvature * self.slope**2 + slope * self.curvature)

    def _reciprocal(self) -> Taylor:
        inverse = 1 / self.value
        return self.through(inverse, -(inverse**2), 2 * inverse**3)


class Functions:
    """The namespace that a formula is given: its functions, of a :class:`Taylor` argument.

    Where a formula is written in two pieces, their border belongs to the left one.
    """

    @staticmethod
    def exp(a: Taylor) -> Taylor:
        """``eᵃ``."""
        value = np.exp(a.value)
        return a.through(value, value, value)

    @staticmethod
    def expm1(a: Taylor) -> Taylor:
        """``eᵃ - 1``."""
        slope = np.exp(a.value)
        return a.through(np.expm1(a.value), slope, slope)

    @staticmethod
    def log(a: Taylor) -> Taylor:
        """``log a``."""
        return a.through(np.log(a.value), 1 / a.value, -1 / a.value**2)

    @staticmethod
    def log1p(a: Taylor) -> Taylor:
        """``log(1 + a)``."""
        slope = 1 / (1 + a.value)
        return a.through(np.log1p(a.value), slope, -(slope**2))

    @staticmethod
    def tanh(a: Taylor) -> Taylor:
        """``tanh a``."""
        value = np.tanh(a.value)
        slope = 1 / np.cosh(a.value) ** 2
        return a.through(value, slope, -2 * value * slope)

    @staticmethod
    def sin(a: Taylor) -> Taylor:
        """``sin a``."""
        value = np.sin(a.value)
        return a.through(value, np.cos(a.value), -value)

    @staticmethod
    def cos(a: Taylor) -> Taylor:
        """``cos a``."""
        value = np.cos(a.value)
        return a.through(value, -np.sin(a.value), -value)

    @staticmethod
    def sqrt(a: Taylor) -> Taylor:
        """``√a``."""
        value = np.sqrt(a.value)
        return a.through(value, 0.5 / value, -0.25 / value**3)

    @staticmethod
    def abs(a: Taylor) -> Taylor:
        """``|a|``."""
        sign = np.where(a.value > 0, 1.0, -1.0)
        return a.through(np.abs(a.value), sign, 0 * sign)

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
