"""Activations with their first two derivatives, by the formulas of the table.

They take complex numbers too, and tell the sides of a kink by the real part: so can derivatives be
taken by complex steps (see ``hessians.unrolled``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Inexact

from pcbench.networks import activation

Entries = Inexact[np.ndarray, "..."]


@dataclass(frozen=True, slots=True)
class Phi:
    """An activation ``φ``, entry by entry.

    At its kink a rectifier has the slope of its left side, and no curvature.

    Attributes
    ----------
    value, slope, curvature
        ``φ(a)``, ``φ'(a)``, ``φ''(a)``.
    steepest
        A bound on ``|φ'|``.
    """

    value: Callable[[Entries], Entries]
    slope: Callable[[Entries], Entries]
    curvature: Callable[[Entries], Entries]
    steepest: float = 1.0


class _Analytic:
    """NumPy, where ``abs`` continues ``|a|`` of real numbers to complex ones beside them."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def abs(a: Entries) -> Entries:
        return np.where(a.real > 0, a, -a) if np.iscomplexobj(a) else np.abs(a)


IDENTITY = Phi(lambda a: a, np.ones_like, np.zeros_like)


def phi(name: str) -> Phi:
    """Return an activation by name."""
    if name == "identity":
        return IDENTITY
    row, functions = activation(name), _Analytic()
    value, slope, curvature = (partial(f, functions) for f in (row.value, row.slope, row.curvature))
    return Phi(value, slope, curvature, row.max_slope)
