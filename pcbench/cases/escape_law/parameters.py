"""What a suite may write about laws of escape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pcbench.case import CaseParameters
from pcbench.cases.escape_law.fits import LEAST_SCALES
from pcbench.contract import ExactInference, InferenceSettings
from pcbench.data import DataField
from pcbench.data.base import MOST
from pcbench.networks import InitialisationField, NearOrigin, NetworkParameters

LEAST_SPAN = 30


class LawNetwork(NetworkParameters):
    """A network whose origin is a saddle of both objectives; its scale is what is varied."""

    activation: Literal["identity", "tanh"] = "identity"
    bias: Literal[False] = False
    initialisation: InitialisationField = NearOrigin()

    @model_validator(mode="after")
    def _starts_near_an_origin(self) -> LawNetwork:
        if self.initialisation != NearOrigin():
            raise ValueError("weights are σ times a normal draw; leave initialisation to scales")
        if self.convolutions or not self.hidden:
            raise ValueError(
                "this kind takes fully connected networks, of one hidden layer or more"
            )
        return self


class Scales(CaseParameters):
    """Standard deviations ``σ`` of the initial weights, in one ratio."""

    largest: PositiveFloat = 0.3
    smallest: PositiveFloat = 0.01
    count: int = Field(7, ge=LEAST_SCALES, le=1000)
    further: int = Field(
        12,
        ge=0,
        le=1000,
        description="Further scales, in the same ratio, for learners that leave in logarithmic "
        "time: PC, and BP with one hidden layer.",
    )

    def contradictions(self) -> Iterator[str]:
        """Say which settings do not fit together."""
        # One part in a thousand: 0.3 over 0.01 is a bit less than 30 in binary.
        if self.largest < LEAST_SPAN * self.smallest * 0.999:
            yield (
                f"scales from {self.largest:g} to {self.smallest:g} span less than a factor of "
                f"{LEAST_SPAN}, on which no law can be told from another; make smallest at most "
                f"{self.largest / LEAST_SPAN:.2g}"
            )

    @property
    def ratio(self) -> float:
        """``ρ``, of one scale to the next."""
        return float((self.largest / self.smallest) ** (1 / (self.count - 1)))

    def all(self, *, further: bool) -> Float[np.ndarray, " scales"]:
        """Return the scales, the largest first."""
        return self.largest * self.ratio ** -np.arange(self.count + further * self.further)


class LawTraining(CaseParameters):
    """Gradient descent on all samples at once."""

    learning_rate: PositiveFloat = 0.1
    max_steps: PositiveInt = Field(300_000, description="A run is given up after this many steps.")


class Parameters(CaseParameters):
    """What a suite may write under ``kind: escape_law``."""

    data: DataField
    network: LawNetwork
    scales: Scales = Scales()
    seeds: int = Field(
        5, ge=5, le=MOST, description="Draws of the initial weights, each at every scale."
    )
    fraction: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="A run has escaped once loss or energy has fallen by this fraction of its "
        "initial value.",
    )
    training: LawTraining = LawTraining()
    inference: InferenceSettings = ExactInference()
