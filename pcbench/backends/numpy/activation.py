"""Activations with their first two derivatives, by their textbook formulas.

They take complex numbers too, and tell the sides of a kink by the real part: so can derivatives be
taken by complex steps (see ``hessians.unrolled``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Inexact

from pcbench.networks import LEAK, Activation

Entries = Inexact[np.ndarray, "..."]


@dataclass(frozen=True, slots=True)
class Phi:
    """An activation ``φ``, entry by entry.

    At its kink a rectifier has the slope of its left side, and no curvature.

    Attributes
    ----------
    value, slope, curvature
        ``φ(a)``, ``φ'(a)``, ``φ''(a)``.
    """

    value: Callable[[Entries], Entries]
    slope: Callable[[Entries], Entries]
    curvature: Callable[[Entries], Entries]


def _sigmoid(a: Entries) -> Entries:
    """``1/(1 + e⁻ᵃ)``, written for each sign so that no exponential overflows."""
    small = np.exp(np.where(a.real > 0, -a, a))
    gate: Entries = np.where(a.real > 0, 1, small) / (1 + small)
    return gate


def _silu_slope(a: Entries) -> Entries:
    gate = _sigmoid(a)
    slope: Entries = gate + a * gate * (1 - gate)
    return slope


def _silu_curvature(a: Entries) -> Entries:
    gate = _sigmoid(a)
    curvature: Entries = gate * (1 - gate) * (2 + a * (1 - 2 * gate))
    return curvature


def _tanh_slope(a: Entries) -> Entries:
    slope: Entries = 1 - np.tanh(a) ** 2
    return slope


def _tanh_curvature(a: Entries) -> Entries:
    value = np.tanh(a)
    curvature: Entries = -2 * value * (1 - value**2)
    return curvature


def _rectifier(leak: float) -> Phi:
    def slope(a: Entries) -> Entries:
        return np.where(a.real > 0, 1.0, leak)

    return Phi(lambda a: a * slope(a), slope, np.zeros_like)


IDENTITY = Phi(lambda a: a, np.ones_like, np.zeros_like)

BY_NAME: dict[Activation, Phi] = {
    "identity": IDENTITY,
    "tanh": Phi(np.tanh, _tanh_slope, _tanh_curvature),
    "relu": _rectifier(0.0),
    "leaky_relu": _rectifier(LEAK),
    "silu": Phi(lambda a: a * _sigmoid(a), _silu_slope, _silu_curvature),
}
