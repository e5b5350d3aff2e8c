"""What is studied: the shape of a network, free of any framework."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Activation = Literal["identity", "tanh", "relu", "leaky_relu", "silu"]
Convention = Literal["post", "pre"]


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A fully connected network without biases.

    Parameters
    ----------
    widths
        ``(d_0, …, d_L)``: input, hidden layers, output; at least two entries, all positive.
    activation
        ``φ``, applied at every hidden layer.
    convention
        Where ``φ`` sits. ``post``: ``f_l(z) = φ(W_l z)``, output ``f_L(z) = W_L z``. ``pre``:
        ``f_1(z) = W_1 z``, then ``f_l(z) = W_l φ(z)``. The two agree for ``identity``.
    """

    widths: tuple[int, ...]
    activation: Activation = "identity"
    convention: Convention = "post"

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError(f"widths {self.widths} are not an input, hidden layers and an output")

    @property
    def n_layers(self) -> int:
        """``L``, the number of weight matrices."""
        return len(self.widths) - 1

    @property
    def n_hidden(self) -> int:
        """``H = L - 1``, the number of hidden layers."""
        return self.n_layers - 1

    @property
    def is_linear(self) -> bool:
        """Whether the network is a product of matrices."""
        return self.activation == "identity"

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """``(d_l, d_{l-1})`` of every weight matrix, first layer first."""
        return tuple((out, inp) for inp, out in pairwise(self.widths))

    @property
    def n_parameters(self) -> int:
        """Number of weights."""
        return sum(out * inp for out, inp in self.shapes)

    def __str__(self) -> str:
        return "-".join(map(str, self.widths))
