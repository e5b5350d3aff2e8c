"""What the theorem cases share: a linear network, a batch, and numbers that fit the dtype."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from pcbench.backends import DType
from pcbench.cases.base import CaseSkippedError, Context
from pcbench.data.base import DatasetParameters
from pcbench.networks import NetworkParameters, NetworkSpec

Weights = list[Float[np.ndarray, "_out _inp"]]


class LinearNetwork(NetworkParameters):
    """A network that the theorems speak about."""

    activation: Literal["identity"] = "identity"


@dataclass(frozen=True, slots=True)
class Problem:
    """A network at a point in weight space, and samples.

    All numbers are rounded to the backend's dtype already: judge and judged are then given the same
    problem, and what they disagree about is arithmetic alone.
    """

    network: NetworkSpec
    weights: Weights
    x: Float[np.ndarray, "N d_0"]
    y: Float[np.ndarray, "N d_L"]

    @classmethod
    def pose(cls, context: Context, data: DatasetParameters, network: NetworkParameters) -> Problem:
        """Load the samples and draw the weights.

        Raises
        ------
        CaseSkippedError
            If the samples are images where a fully connected network needs flat inputs.
        """
        samples = context.load(data)
        if samples.x.ndim != 2:
            raise CaseSkippedError(
                f"the inputs have shape {samples.x.shape[1:]}, and a fully connected network takes "
                "flat ones; write data.shape: flat"
            )
        spec = network.specification(samples.x.shape[1], samples.y.shape[1])
        weights = network.initialisation.draw(spec, context.rng("weights"))
        dtype = context.backend.dtype
        return cls(spec, rounded(weights, dtype), *rounded([samples.x, samples.y], dtype))


def rounded(
    arrays: Sequence[Float[np.ndarray, "..."]], dtype: DType
) -> list[Float[np.ndarray, "..."]]:
    """Round to the dtype, and return the results in float64."""
    return [np.asarray(array, dtype).astype(np.float64) for array in arrays]
