"""The affine part of a layer, a matrix or a convolution, and the pooling after it.

Activities are flat, ``(*R, N, d)``. What is pulled back may have an axis more, of many vectors a
sample: ``(*R, N, K, d)``. ``R`` stands for an optional leading axis of replicas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from pcbench.contract.model import BackendUnavailableError
from pcbench.networks import Convolution


class Matrix:
    """``W z + b``; the weight is ``(*R, d_out, d_in)``."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    @property
    def replicas(self) -> torch.Size:
        """``(R,)``, or ``()``."""
        return self.weight.shape[:-2]

    @property
    def widths(self) -> tuple[int, int]:
        """``(d_in, d_out)``."""
        return self.weight.shape[-1], self.weight.shape[-2]

    def along(self, weight: Tensor, bias: Tensor | None) -> Matrix:
        """Return the map of other parameters, which may have an axis more in front."""
        return Matrix(weight, bias)

    def with_directions(self) -> Matrix:
        """Return the map for batches with an axis of directions, ``(*R, K, N, d)``."""
        if not self.replicas:
            return self
        return Matrix(
            self.weight.unsqueeze(-3), None if self.bias is None else self.bias.unsqueeze(-2)
        )

    @property
    def multiplications(self) -> int:
        """How many a sample costs, in all replicas together: every weight is used once."""
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


class ConvolutionMap:
    """A convolution of stride 1 that keeps height and width; the weight ``(*R, out, in, k, k)``.

    Replicas are convolved one after the other. As groups of channels of one convolution they would
    be done at once, and where a group has few channels up to two hundred times more slowly.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, layer: Convolution) -> None:
        self.weight, self.bias = weight, bias
        self.replicas = weight.shape[:-4]
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
        """Return the map itself: without replicas it takes any number of axes."""
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


AffineMap = Matrix | ConvolutionMap


@dataclass(frozen=True, slots=True)
class MaxPool:
    """The largest of every window, of windows that do not overlap."""

    layer: Convolution

    def __call__(
        self, z: Float[Tensor, "*R N d_in"]
    ) -> tuple[Float[Tensor, "*R N d_out"], Int[Tensor, "*R N d_out"]]:
        """Return the maxima and their positions in the flat input."""
        channels, height, width = self.layer.channels, *self.layer.image[1:]
        values, inside = functional.max_pool2d(
            z.reshape(-1, channels, height, width), self.layer.pool, return_indices=True
        )
        channel = inside.new_tensor(range(channels)).reshape(-1, 1, 1)
        positions = inside + channel * (height * width)  # torch counts within a channel
        shape = (*z.shape[:-1], self.layer.outputs)
        return values.reshape(shape), positions.reshape(shape)

    def push(
        self, v: Float[Tensor, "*#R N d_in"], positions: Int[Tensor, "*#R N d_out"]
    ) -> Float[Tensor, "*#R N d_out"]:
        """Take every entry from where the maximum came from."""
        return v.gather(-1, positions.expand(*v.shape[:-1], positions.shape[-1]))

    def pull(
        self, e: Float[Tensor, "*R N *K d_out"], positions: Int[Tensor, "*R N d_out"]
    ) -> Float[Tensor, "*R N *K d_in"]:
        """Put every entry where the maximum came from."""
        if e.dim() > positions.dim():
            positions = positions.unsqueeze(-2)
        spread = e.new_zeros((*e.shape[:-1], self.layer.channels * prod(self.layer.image[1:])))
        return spread.scatter_(-1, positions.expand(e.shape), e)
