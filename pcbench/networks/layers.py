"""Layers by their shapes: fully connected, and convolution with pooling.

Every layer maps flat activities to flat activities, ``(N, d_{l-1})`` to ``(N, d_l)``; an image is
flattened channel by channel, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

Image = tuple[int, int, int]
"""Channels, height, width."""


@dataclass(frozen=True, slots=True)
class Dense:
    """Every output sees every input: ``W z``."""

    inputs: int
    outputs: int

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``(d_l, d_{l-1})``."""
        return self.outputs, self.inputs

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """``(d_l,)``."""
        return (self.outputs,)


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution of stride 1 that keeps height and width, then max pooling.

    Parameters
    ----------
    image
        Shape of the input, ``(channels, height, width)``.
    channels
        Of the output.
    kernel
        Side of the square kernel, odd; the image is padded with ``(kernel - 1) / 2`` zeros. As in
        all of deep learning it is not flipped: strictly a cross-correlation.
    pool
        Side of the pooling windows, which do not overlap; 1 pools nothing.
    """

    image: Image
    channels: int
    kernel: int = 3
    pool: int = 1

    def __post_init__(self) -> None:
        _, height, width = self.image
        if self.kernel % 2 == 0:
            raise ValueError(f"a kernel of side {self.kernel} has no centre; make it odd")
        if height % self.pool or width % self.pool:
            raise ValueError(
                f"images of {height} × {width} do not divide into windows of {self.pool} × "
                f"{self.pool}; choose another pool"
            )

    @property
    def output_image(self) -> Image:
        """Channels, height and width of what comes out."""
        _, height, width = self.image
        return self.channels, height // self.pool, width // self.pool

    @property
    def inputs(self) -> int:
        """``d_{l-1}``."""
        return prod(self.image)

    @property
    def outputs(self) -> int:
        """``d_l``."""
        return prod(self.output_image)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``(channels out, channels in, kernel, kernel)``."""
        return self.channels, self.image[0], self.kernel, self.kernel

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """``(channels out,)``."""
        return (self.channels,)


Layer = Dense | Convolution
