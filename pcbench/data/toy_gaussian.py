"""The toy Gaussian: inputs around one, and their negatives as targets.

``x ~ N(1, 0.1²)`` independently in each of ``d`` coordinates, and ``y = -x`` (Innocenti et al.,
NeurIPS 2024, figures 2, 3, 7, 8, 9 and 10).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from pcbench.data.base import Count, Dataset, DatasetParameters, Samples

MEAN = 1.0
STD = 0.1


class ToyGaussianParameters(DatasetParameters):
    """Parameters of the dataset ``toy_gaussian``."""

    name: Literal["toy_gaussian"]
    dimension: Count = Field(3, description="Coordinates of x and of y, d.")
    target: Literal["negated", "mixed"] = Field(
        "negated",
        description="y = -x, or the same with an independent draw as y's second coordinate.",
    )

    @model_validator(mode="after")
    def _has_the_coordinate_it_mixes(self) -> ToyGaussianParameters:
        if self.target == "mixed" and self.dimension < 2:
            raise ValueError("target 'mixed' draws the second coordinate of y: set dimension >= 2")
        return self


class ToyGaussian(Dataset[ToyGaussianParameters]):
    """``x ~ N(1, 0.1²)``, ``y = -x``; with ``target: mixed`` also ``y_2 ~ N(1, 0.1²)``."""

    name = "toy_gaussian"
    description = (
        "Gaussian inputs with mean one, and their negatives as targets; drawn for each case"
    )
    Parameters = ToyGaussianParameters

    def load(self, rng: np.random.Generator) -> Samples:
        """Draw ``x`` ``(N, d)`` and ``y`` ``(N, d)``."""
        n, d = self.parameters.samples, self.parameters.dimension
        x = rng.normal(MEAN, STD, size=(n, d))
        y = -x
        if self.parameters.target == "mixed":
            y[:, 1] = rng.normal(MEAN, STD, size=n)
        return Samples(x, y)
