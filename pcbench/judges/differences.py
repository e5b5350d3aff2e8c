r"""Derivatives along a line by finite differences of fourth order.

With ``f_k`` at ``θ + k h v``,

.. math::
    f' ≈ \frac{8 (f_1 - f_{-1}) - (f_2 - f_{-2})}{12 h}, \qquad
    f'' ≈ \frac{16 (f_1 + f_{-1}) - (f_2 + f_{-2}) - 30 f_0}{12 h^2} .

They leave out a term in ``h⁴``, of which the same differences with ``2h`` have sixteen times as
much: how far the two are apart bounds it fifteen times over. What values are off by, they magnify
by up to ``3/2h`` and ``16/3h²``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
