"""Activations with their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pcbench.networks import LEAK
from pcbench.networks import activation as table_row


@dataclass(frozen=True, slots=True)
class Phi:
    """An activation ``φ``, entry by entry.

    At its kink a rectifier has the slope of its left side, as autograd has it, and no curvature.

    Attributes
    ----------
    value_and_slope
        ``φ(a)`` and ``φ'(a)``.
    curvature
        ``φ''(a)``.
    """

    value_and_slope: Callable[[Tensor], tuple[Tensor, Tensor]]
    curvature: Callable[[Tensor], Tensor]

    def __call__(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``φ(a)`` and ``φ'(a)``."""
        return self.value_and_slope(a)


def activation(name: str) -> Phi | None:
    """Return an activation by name; ``None`` for the identity.

    Those that come with pcbench are PyTorch's own functions; others are what the table says.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    row = table_row(name)
    return Phi(lambda a: (row.value(torch, a), row.slope(torch, a)), partial(row.curvature, torch))


def _tanh(a: Tensor) -> tuple[Tensor, Tensor]:
    value = torch.tanh(a)
    return value, 1 - value.square()


def _tanh_curvature(a: Tensor) -> Tensor:
    value, slope = _tanh(a)
    return -2 * value * slope


def _relu(a: Tensor) -> tuple[Tensor, Tensor]:
    return torch.relu(a), (a > 0).to(a.dtype)


def _leaky_relu(a: Tensor) -> tuple[Tensor, Tensor]:
    slope = torch.where(a > 0, torch.ones_like(a), LEAK)
    return a * slope, slope


def _silu(a: Tensor) -> tuple[Tensor, Tensor]:
    gate = torch.sigmoid(a)
    value = a * gate
    return value, gate + value * (1 - gate)


def _silu_curvature(a: Tensor) -> Tensor:
    gate = torch.sigmoid(a)
    return gate * (1 - gate) * (2 + a * (1 - 2 * gate))


_BY_NAME: dict[str, Phi | None] = {
    "identity": None,
    "tanh": Phi(_tanh, _tanh_curvature),
    "relu": Phi(_relu, torch.zeros_like),
    "leaky_relu": Phi(_leaky_relu, torch.zeros_like),
    "silu": Phi(_silu, _silu_curvature),
}
