"""Linear maps of layers as the matrix products that they are: each inner product a row by a column.

A dense layer is one already. The rows of a convolution (stride 1, kernels not flipped, padded so
that height and width stay) are the patches of its images, one a place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Units

Rows = Float[np.ndarray, "_rows _terms"]
Matrix = Float[np.ndarray, "_out _inp"]
Kernels = Float[np.ndarray, "_out _inp _k _k"]


@dataclass(frozen=True, slots=True)
class LinearMap:
    """``u ↦ A_l u``, sample by sample.

    Attributes
    ----------
    weight
        ``A_l``, or the kernels of a convolution.
    image
        ``(channels, height, width)`` of what enters a convolution.
    """

    weight: Matrix | Kernels
    image: tuple[int, int, int] | None = None

    @property
    def columns(self) -> Rows:
        """``A_lᵀ`` as a matrix, ``(c k k, o)`` of a convolution."""
        return self.weight.reshape(len(self.weight), -1).T

    @property
    def force_columns(self) -> Rows:
        """``A_l`` as the matrix that pulls forces back, flipped: ``(o k k, c)``."""
        if self.image is None:
            return self.weight
        flipped = self.weight[:, :, ::-1, ::-1].transpose(0, 2, 3, 1)
        return flipped.reshape(-1, self.weight.shape[1])

    def rows(self, units: Units) -> Rows:
        """What a product takes of ``u``, or of forces: themselves, or their patches."""
        if self.image is None:
            return units
        kernel, (_, height, width) = self.weight.shape[-1], self.image
        images, margin = units.reshape(len(units), -1, height, width), (kernel - 1) // 2
        padded = np.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
        patches = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
        return patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1] * kernel**2)

    def by_place(self, units: Units) -> Rows:
        """One row a place of the image, its channels in it: ``(N h w, channels)``."""
        if self.image is None:
            return units
        _, height, width = self.image
        images = units.reshape(len(units), -1, height * width)
        return images.swapaxes(1, 2).reshape(-1, images.shape[1])

    def by_sample(self, rows: Rows) -> Units:
        """Undo ``by_place``."""
        if self.image is None:
            return rows
        _, height, width = self.image
        places = rows.reshape(-1, height * width, rows.shape[1])
        return places.swapaxes(1, 2).reshape(len(places), -1)

    def apply(self, u: Units) -> Units:
        """``A_l u``."""
        return self.by_sample(self.rows(u) @ self.columns)

    def pull_back(self, force: Units) -> Units:
        """``A_lᵀ force``."""
        return self.by_sample(self.rows(force) @ self.force_columns)

    def gradient(self, u: Units, force: Units) -> Matrix | Kernels:
        """``Σ_n (∂(A_l u_n)/∂A_l)ᵀ force_n``."""
        gradient: Matrix = self.by_place(force).T @ self.rows(u)
        return gradient.reshape(self.weight.shape)
