"""Activations with their slopes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from pcbench.networks import LEAK
from pcbench.networks import activation as table_row

Phi = Callable[[Tensor], tuple[Tensor, Tensor]]
"""``φ(a)`` and ``φ'(a)``, entry by entry; at a kink, the slope of its left side."""


def activation(name: str) -> Phi | None:
    """Return an activation by name; ``None`` for the identity.

    Those that come with pcbench are PyTorch's own functions; others are what the table says.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    row = table_row(name)
    slope = _with_derivative(partial(row.slope, torch), partial(row.curvature, torch))
    value = _with_derivative(partial(row.value, torch), slope)
    return lambda a: (value(a), slope(a))


Entrywise = Callable[[Tensor], Tensor]


def _with_derivative(function: Entrywise, derivative: Entrywise) -> Entrywise:
    """Return a function that is differentiated as told: ``|a|`` in a formula has a kink at 0."""

    class Told(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor) -> Tensor:
            ctx.save_for_backward(a)
            return function(a)

        @staticmethod
        def backward(ctx: Any, along: Tensor) -> Tensor:
            [a] = ctx.saved_tensors
            return along * derivative(a)

    told = cast(Entrywise, Told.apply)
    return lambda a: told(a)


def _tanh(a: Tensor) -> tuple[Tensor, Tensor]:
    value = torch.tanh(a)
    return value, 1 - value.square()


def _relu(a: Tensor) -> tuple[Tensor, Tensor]:
    return torch.relu(a), (a > 0).to(a.dtype)


def _leaky_relu(a: Tensor) -> tuple[Tensor, Tensor]:
    slope = torch.where(a > 0, torch.ones_like(a), LEAK)
    return a * slope, slope


def _silu(a: Tensor) -> tuple[Tensor, Tensor]:
    gate = torch.sigmoid(a)
    value = a * gate
    return value, gate + value * (1 - gate)


_BY_NAME: dict[str, Phi | None] = {
    "identity": None,
    "tanh": _tanh,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "silu": _silu,
}
