"""The table of activations: one row each, which everyone reads who needs more than a name.

The theory does not: of the activations below it has formulas of its own, and of one that is added
it takes ``φ`` alone, and the derivatives itself (``pcbench.theory.nonlinear.activations``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from pcbench.named import OneOf
from pcbench.registry import Registry

Formula = Callable[[Any, Any], Any]
"""``formula(xp, a)``: a function of the array ``a``, in the functions of the namespace ``xp``."""

LEAK = 0.01  # slope of leaky_relu for negative inputs, and at 0


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation ``φ``, entry by entry, with ``φ(0) = 0``, and what is known of it.

    One formula serves NumPy, PyTorch and JAX: it takes their namespace (``numpy``, ``torch``,
    ``jax.numpy``) and an array, and uses arithmetic, comparisons of ``a.real``, and ``abs``,
    ``cos``, ``exp``, ``expm1``, ``log``, ``log1p``, ``sin``, ``sqrt``, ``tanh`` and ``where`` by
    these names. Each must be accurate to 16 roundings relative to its value, and overflow nowhere.

    At a kink the slope is that of its left side, and there is no curvature.
    """

    name: str  # what a suite writes
    value: Formula  # φ(a)
    slope: Formula  # φ'(a)
    curvature: Formula  # φ''(a)
    max_slope: float  # the least upper bound of |φ'| known
    max_curvature: float  # of |φ''|, away from kinks
    smooth: bool = True  # whether there are no kinks

    def __post_init__(self) -> None:
        at_zero = float(self.value(np, np.zeros(1))[0])
        if at_zero != 0:
            raise ValueError(
                f"the activation {self.name!r} is {at_zero:.3g} at 0, where the theory of the "
                "origin has 0; subtract that"
            )

    @property
    def slope_at_zero(self) -> float:
        """``φ'(0)``, of a kink that of its left side."""
        return float(self.slope(np, np.zeros(1))[0])


def _zeros(xp: Any, a: Any) -> Any:
    return xp.zeros_like(a)


def _tanh_curvature(xp: Any, a: Any) -> Any:
    value = xp.tanh(a)
    return -2 * value * (1 - value**2)


def _sigmoid(xp: Any, a: Any) -> Any:
    """``1/(1 + e⁻ᵃ)``, written for each sign so that no exponential overflows."""
    small = xp.exp(xp.where(a.real > 0, -a, a))
    return xp.where(a.real > 0, 1, small) / (1 + small)


def _silu_slope(xp: Any, a: Any) -> Any:
    gate = _sigmoid(xp, a)
    return gate + a * gate * (1 - gate)


def _silu_curvature(xp: Any, a: Any) -> Any:
    gate = _sigmoid(xp, a)
    return gate * (1 - gate) * (2 + a * (1 - 2 * gate))


def _rectifier(name: str, leak: float) -> Activation:
    def slope(xp: Any, a: Any) -> Any:
        return xp.where(a.real > 0, 1.0, leak)

    return Activation(name, lambda xp, a: a * slope(xp, a), slope, _zeros, 1.0, 0.0, smooth=False)


ROWS = (
    Activation("identity", lambda _, a: a, lambda xp, a: xp.ones_like(a), _zeros, 1.0, 0.0),
    # |φ''| is largest where tanh² = 1/3: 4/(3√3).
    Activation(
        "tanh",
        lambda xp, a: xp.tanh(a),
        lambda xp, a: 1 - xp.tanh(a) ** 2,
        _tanh_curvature,
        1.0,
        0.77,
    ),
    _rectifier("relu", 0.0),
    _rectifier("leaky_relu", LEAK),
    # |φ'| is largest near a = 2.4: 1.0998; |φ''| at 0.
    Activation("silu", lambda xp, a: a * _sigmoid(xp, a), _silu_slope, _silu_curvature, 1.1, 0.5),
)

ACTIVATIONS = Registry("pcbench.activations", "activation", {row.name: row for row in ROWS})
"""Rows by name; from outside, by ``ACTIVATIONS.add(name, row)``, or an entry point of its group."""

ActivationName = Annotated[str, OneOf(ACTIVATIONS)]
"""The name of a row; as a parameter, one of those that there are."""


def activation(name: str) -> Activation:
    """Return the row of a name."""
    return ACTIVATIONS.load_instance(name, Activation)
