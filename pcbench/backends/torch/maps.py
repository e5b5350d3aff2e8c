"""The affine part of a layer: a matrix, or a convolution.

Activities are flat, ``(*R, N, d)``. What is pulled back may have an axis more, of many vectors a
sample: ``(*R, N, K, d)``. ``R`` stands for an optional leading axis of replicas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from math import prod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from pcbench.contract.model import BackendUnavailableError
from pcbench.networks import Convolution


class AffineMap(ABC):
    """``z ↦ A z + b``, its transpose, and its derivative in its parameters.

    Parameters
    ----------
    weight
        With one replica axis in front, or none.
    bias
        One number an output or an output channel; ``None`` for none.
    """

    _weight_axes: ClassVar[int]

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    @property
    def replicas(self) -> torch.Size:
        """``(R,)``, or ``()``."""
        return self.weight.shape[: -self._weight_axes]

    @property
    @abstractmethod
    def widths(self) -> tuple[int, int]:
        """``(d_in, d_out)``."""

    @abstractmethod
    def along(self, weight: Tensor, bias: Tensor | None) -> AffineMap:
        """Return the map of other parameters, which may have an axis more in front."""

    @abstractmethod
    def with_directions(self) -> AffineMap:
        """Return the map for batches with an axis of directions, ``(*R, K, N, d)``.

        Raises
        ------
        BackendUnavailableError
            If it is a convolution with replicas.
        """

    @property
    @abstractmethod
    def multiplications(self) -> int:
        """How many one sample costs, in all replicas together."""

    @abstractmethod
    def __call__(self, z: Float[Tensor, "*#R N d_in"]) -> Float[Tensor, "*#R N d_out"]:
        """``A z + b``."""

    @abstractmethod
    def push(self, v: Float[Tensor, "*#R N d_in"]) -> Float[Tensor, "*#R N d_out"]:
        """``A v``."""

    @abstractmethod
    def pull(self, e: Float[Tensor, "*#R N *K d_out"]) -> Float[Tensor, "*#R N *K d_in"]:
        """``Aᵀ e``."""

    @abstractmethod
    def weight_gradient(
        self, z: Float[Tensor, "*#R N d_in"], e: Float[Tensor, "*#R N d_out"]
    ) -> Tensor:
        """``Σ_n (∂(A z_n)/∂W)ᵀ e_n``, in the weight's shape."""

    @abstractmethod
    def bias_gradient(self, e: Float[Tensor, "*#R N d_out"]) -> Tensor:
        """``Σ_n (∂b/∂b)ᵀ e_n``, in the bias's shape."""


class Matrix(AffineMap):
    """``W z + b``; the weight is ``(*R, d_out, d_in)``."""

    _weight_axes: ClassVar[int] = 2

    @property
    def widths(self) -> tuple[int, int]:
        """``(d_in, d_out)``."""
        return self.weight.shape[-1], self.weight.shape[-2]

    def along(self, weight: Tensor, bias: Tensor | None) -> Matrix:
        """Return the map of other parameters."""
        return Matrix(weight, bias)

    def with_directions(self) -> Matrix:
        """Return the map for batches with an axis of directions."""
        if not self.replicas:
            return self
        return Matrix(
            self.weight.unsqueeze(-3), None if self.bias is None else self.bias.unsqueeze(-2)
        )

    @property
    def multiplications(self) -> int:
        """Every weight is used once a sample."""
        return self.weight.numel()

    def __call__(self, z: Tensor) -> Tensor:
        """``A z + b``."""
        product = self.push(z)
        return product if self.bias is None else product + self.bias.unsqueeze(-2)

    def push(self, v: Tensor) -> Tensor:
        """``A v``."""
        return v @ self.weight.mT

    def pull(self, e: Tensor) -> Tensor:
        """``Aᵀ e``."""
        if self.weight.dim() == 2 or e.dim() <= self.weight.dim():
            return e @ self.weight
        rows = e.flatten(-3, -2) @ self.weight  # one product a replica, not one a sample
        return rows.reshape(*rows.shape[:-2], *e.shape[-3:-1], rows.shape[-1])

    def weight_gradient(self, z: Tensor, e: Tensor) -> Tensor:
        """``eᵀ z``."""
        return e.mT @ z

    def bias_gradient(self, e: Tensor) -> Tensor:
        """``Σ_n e_n``."""
        return e.sum(-2)


class ConvolutionMap(AffineMap):
    """A convolution of stride 1 that keeps height and width; the weight ``(*R, out, in, k, k)``.

    Replicas are convolved one after the other. As groups of channels of one convolution they would
    be done at once, and where a group has few channels up to two hundred times more slowly.
    """

    _weight_axes: ClassVar[int] = 4

    def __init__(self, weight: Tensor, bias: Tensor | None, layer: Convolution) -> None:
        super().__init__(weight, bias)
        self._layer = layer
        self._image = layer.image
        self._out = (layer.channels, *layer.image[1:])
        self._padding = layer.kernel // 2
        # Views: an optimiser moves the weight in place.
        self._kernels = weight.unbind() if self.replicas else (weight,)

    @property
    def widths(self) -> tuple[int, int]:
        """``(d_in, d_out)``, before pooling."""
        return prod(self._image), prod(self._out)

    def along(self, weight: Tensor, bias: Tensor | None) -> ConvolutionMap:
        """Return the map of other parameters."""
        return ConvolutionMap(weight, bias, self._layer)

    def with_directions(self) -> ConvolutionMap:
        """Return the map itself: without replicas it takes any number of axes.

        Raises
        ------
        BackendUnavailableError
            If there are replicas.
        """
        if self.replicas:
            raise BackendUnavailableError("Hessians of convolutions take no replicas")
        return self

    @property
    def multiplications(self) -> int:
        """Every weight is used once a sample at every place of the image."""
        return self.weight.numel() * prod(self._image[1:])

    def __call__(self, z: Tensor) -> Tensor:
        """``A z + b``."""
        value = self.push(z)
        if self.bias is None:
            return value
        places = self.bias.repeat_interleave(prod(self._image[1:]), dim=-1)
        return value + (places.unsqueeze(-2) if self.replicas else places)

    def push(self, v: Tensor) -> Tensor:
        """``A v``."""
        return self._joined(
            functional.conv2d(
                rows.reshape(-1, *self._image), kernel, padding=self._padding
            ).reshape(*rows.shape[:-1], -1)
            for rows, kernel in zip(self._split(v), self._kernels, strict=True)
        )

    def pull(self, e: Tensor) -> Tensor:
        """``Aᵀ e``."""
        return self._joined(
            functional.conv_transpose2d(
                rows.reshape(-1, *self._out), kernel, padding=self._padding
            ).reshape(*rows.shape[:-1], -1)
            for rows, kernel in zip(self._split(e), self._kernels, strict=True)
        )

    def weight_gradient(self, z: Tensor, e: Tensor) -> Tensor:
        """The cross-correlation of inputs with errors."""
        return self._joined(
            conv2d_weight(  # type: ignore[no-untyped-call]
                rows.reshape(-1, *self._image),
                list(kernel.shape),
                errors.reshape(-1, *self._out),
                padding=self._padding,
            )
            for rows, errors, kernel in zip(
                self._split(z), self._split(e), self._kernels, strict=True
            )
        )

    def bias_gradient(self, e: Tensor) -> Tensor:
        """``Σ_n e_n``, over the positions of a channel."""
        return e.reshape(*e.shape[:-1], self._out[0], -1).sum((-3, -1))

    def _split(self, rows: Tensor) -> Sequence[Tensor]:
        """Take replicas apart; a batch that they share is each one's."""
        if not self.replicas:
            return (rows,)
        if rows.dim() == 2 or rows.shape[0] != self.replicas[0]:
            rows = rows.expand(*self.replicas, *rows.shape[-2:])
        return rows.unbind()

    def _joined(self, answers: Iterable[Tensor]) -> Tensor:
        return torch.stack(list(answers)) if self.replicas else next(iter(answers))
