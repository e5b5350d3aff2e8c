"""The arrays that are spoken of everywhere: a batch, activities, the layers of a network.

Samples are rows. Names of dimensions are those of the package's docstring: in one call of a
function ``N``, ``d_0`` and ``d_L`` are the same wherever they occur; ``_d`` may be anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Inputs = Float[np.ndarray, "N d_0"]
"""``X``."""
Targets = Float[np.ndarray, "N d_L"]
"""``Y``, or what is like it: predictions, errors of the output."""
Units = Float[np.ndarray, "N _d"]
"""Activities, errors or forces of one layer."""
Weights = Sequence[Float[np.ndarray, "_out _inp"]]
"""``W_1 … W_L`` of dense layers."""
WeightGradients = list[Float[np.ndarray, "_out _inp"]]
"""One array a layer, in the shapes of ``W_1 … W_L``."""
