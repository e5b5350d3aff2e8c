"""How inference is asked for: the engines by name, each with its settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


class ExactInference(BaseModel):
    """The equilibrium of a linear network in closed form, to the accuracy of the dtype."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["exact"] = "exact"


class GradientInference(BaseModel):
    """Gradient descent on the energy from the feedforward activities, with a fixed step.

    ``z ← z - step · ∂(N𝓕)/∂z`` for every sample, until the relative residual is reached or the
    budget of steps is spent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["gradient"] = "gradient"
    step: PositiveFloat = Field(0.1, description="Δt, in units of the inverse curvature of 𝓕.")
    max_steps: PositiveInt = Field(10_000, description="Budget.")
    residual: PositiveFloat = Field(
        1e-6, lt=1, description="Stop once ‖∂(N𝓕)/∂z‖ is this fraction of where it began."
    )


InferenceSettings = Annotated[ExactInference | GradientInference, Field(discriminator="engine")]
