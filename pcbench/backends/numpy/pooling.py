"""Which entries win where a convolution pools."""

from __future__ import annotations

import numpy as np
from jaxtyping import Inexact, Int

from pcbench.networks import Convolution


def winners(shape: Convolution, z: Inexact[np.ndarray, "N d_mid"]) -> Int[np.ndarray, "N d_out"]:
    """Position, in the flat image, of the largest of every window; the first of equal ones.

    First in the order row by row. Of complex numbers the real parts count.
    """
    _, height, width = shape.image
    pool, (channels, down, across) = shape.pool, shape.output_image
    positions = np.arange(channels * height * width)
    windows = (
        positions.reshape(channels, down, pool, across, pool)
        .transpose(0, 1, 3, 2, 4)
        .reshape(shape.outputs, pool * pool)
    )
    first = z.real[:, windows].argmax(axis=2)
    won: Int[np.ndarray, "N d_out"] = windows[np.arange(shape.outputs), first]
    return won
