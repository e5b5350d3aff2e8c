"""A matrix of low rank, of which some entries are not observed: matrix completion.

``A B`` with standard normal factors, rows by rank and rank by columns (Innocenti et al., NeurIPS
2024, figure 6, after Jacot et al. 2021, arXiv:2106.15933). A sample is a row: the target is the row
itself, and the input is the same row with zeros where it is not observed.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from pcbench.data.base import Count, Dataset, DatasetParameters, Samples


class LowRankMatrixParameters(DatasetParameters):
    """Parameters of the dataset ``low_rank_matrix``."""

    name: Literal["low_rank_matrix"]
    samples: Count = Field(10, description="Rows of the matrix.")
    columns: Count = 10
    rank: Count = Field(3, description="Rank of the whole matrix; at most its smaller side.")
    observed: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Probability that an entry is observed; one entry of each row always is.",
    )

    @model_validator(mode="after")
    def _has_room_for_its_rank(self) -> LowRankMatrixParameters:
        side = min(self.samples, self.columns)
        if self.rank > side:
            raise ValueError(
                f"{self.samples} rows and {self.columns} columns have rank {side} at most, not "
                f"{self.rank}; lower rank, or raise samples or columns"
            )
        return self


class LowRankMatrix(Dataset[LowRankMatrixParameters]):
    """``A B``, its rows as targets, and as inputs where they are observed."""

    name = "low_rank_matrix"
    description = (
        "Rows of a random matrix of low rank, of which some entries are observed and "
        "the others are to be found"
    )
    Parameters = LowRankMatrixParameters

    def load(self, rng: np.random.Generator) -> Samples:
        """Draw the factors, then which entries are observed.

        The targets are whole: what stands where nothing was observed is the truth, which a
        completion can be held against. Factors drawn from a density have full rank, and so has
        their product the rank asked for, with probability 1.
        """
        asked = self.parameters
        rows = asked.samples
        matrix = rng.standard_normal((rows, asked.rank)) @ rng.standard_normal(
            (asked.rank, asked.columns)
        )
        if asked.observed == 1:
            return Samples(matrix, matrix.copy())
        seen = rng.random(matrix.shape) < asked.observed
        # A row of which nothing is known would be an input of zeros without a target.
        seen[np.arange(rows), rng.integers(0, asked.columns, rows)] = True
        return Samples(np.where(seen, matrix, 0.0), matrix, seen)
