"""The data that critical points are searched for on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Batch:
    """Inputs and targets, and what is known of the targets.

    Attributes
    ----------
    x, y
        ``(N, d_0)`` and ``(N, d_L)``.
    exact
        Whether the targets are a linear function of the inputs.
    """

    x: Float[np.ndarray, "N d_0"]
    y: Float[np.ndarray, "N d_L"]
    exact: bool
