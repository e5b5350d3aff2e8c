"""Max pooling of flat images, and its transpose."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from pcbench.networks import Convolution


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
