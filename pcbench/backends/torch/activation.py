"""Activations with their slopes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pcbench.networks import LEAK, Activation

Phi = Callable[[Tensor], tuple[Tensor, Tensor]]
"""``φ(a)`` and ``φ'(a)``, entry by entry; at a kink, the slope of its left side."""


def activation(name: Activation) -> Phi | None:
    """Return an activation by name; ``None`` for the identity."""
    return _BY_NAME[name]


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


_BY_NAME: dict[Activation, Phi | None] = {
    "identity": None,
    "tanh": _tanh,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "silu": _silu,
}
