"""What a suite may ask of the Hessian during inference."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat

from pcbench.theory.linear.saddles import Steps


class DuringParameters(BaseModel):
    """After which steps of gradient inference the Hessian of the energy is looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: list[NonNegativeInt] = Field(
        default=[0, 1, 2, 5, 10, 20, 50],
        min_length=1,
        description="Numbers of steps, from the feedforward activities.",
    )
    step: PositiveFloat = Field(
        0.1, lt=2, description="Δt; below 2, or steps diverge at any point."
    )

    @property
    def all(self) -> list[Steps]:
        """Every number of steps, with their length."""
        return [Steps(number, self.step) for number in self.steps]
