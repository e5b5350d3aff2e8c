"""How inference is asked for: the engines by name, each with its settings.

All engines start from the feedforward activities. The *relative residual* is ``‖∂(N𝓕)/∂z‖`` over
the hidden activities, divided by its value at that start (absolute where that is zero).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pcbench.contract.capability import Capability


class Engine(BaseModel):
    """What all engines have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    capability: ClassVar[Capability]


class ExactInference(Engine):
    """The equilibrium of a linear network in closed form, to the accuracy of the dtype."""

    capability: ClassVar[Capability] = Capability.EXACT_INFERENCE

    engine: Literal["exact"] = "exact"


class IterativeInference(Engine):
    """An engine that stops at a residual, or at its budget."""

    residual: PositiveFloat = Field(
        1e-6, lt=1, description="Stop once ‖∂(N𝓕)/∂z‖ is this fraction of its initial value."
    )
    max_steps: PositiveInt = Field(10_000, description="Most steps.")
    record: bool = Field(False, description="Keep the energy of every layer at every step.")


class GradientInference(IterativeInference):
    """Gradient descent on the energy in the hidden activities.

    ``z ← z - step · ∂(N𝓕)/∂z`` for every sample, until the relative residual is reached or the
    budget of steps is spent. ``preset: paper`` is what the paper's notebooks do: up to 50 steps of
    0.1, the step halved whenever the energy rises, until it is 0.025.
    """

    capability: ClassVar[Capability] = Capability.GRADIENT_INFERENCE

    engine: Literal["gradient"] = "gradient"
    preset: Literal["paper"] | None = Field(None, description="A published schedule.")
    step: PositiveFloat = Field(0.1, description="Δt, in units of the inverse curvature of 𝓕.")
    halve: bool = Field(False, description="Halve the step when the energy of a replica rises.")
    smallest_step: NonNegativeFloat = Field(
        0.0, description="A replica stops, unconverged, once its step has been halved to this."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("preset") == "paper":
            return PAPER_SCHEDULE | value
        return value

    @model_validator(mode="after")
    def _uses_what_is_given(self) -> GradientInference:
        if self.smallest_step and not self.halve and self.preset is None:
            raise ValueError(
                "smallest_step is where halving ends, and goes unused without it; write halve: "
                "true, or leave smallest_step out"
            )
        return self


PAPER_SCHEDULE: dict[str, Any] = {
    "step": 0.1,
    "max_steps": 50,
    "halve": True,
    "smallest_step": 0.025,
}


class OdeInference(IterativeInference):
    """The gradient flow ``dz/dt = -∂(N𝓕)/∂z``, by an adaptive Runge-Kutta method.

    Steps are those that the method accepts. They must be stable, however smooth the flow is, and so
    grow in number with ``λ_max/λ_min``, as those of gradient descent do (theory.md 2.3).
    """

    capability: ClassVar[Capability] = Capability.ODE_INFERENCE

    engine: Literal["ode"] = "ode"
    method: Literal["dopri5", "bosh3", "adaptive_heun"] = Field(
        "dopri5", description="A method of lower order needs more steps to a small residual."
    )
    rtol: NonNegativeFloat = Field(0.0, description="Relative tolerance of a step.")
    atol: PositiveFloat | None = Field(
        None,
        description="Absolute tolerance of a step, in every sample; if not given, what the "
        "residual needs. With a larger one, activities keep moving by more than the residual "
        "allows. One below the rounding of activities in the dtype is raised to that rounding.",
    )
    max_time: PositiveFloat = Field(1_000.0, description="Longest time of the flow.")
    max_steps: PositiveInt = Field(10_000, description="Most steps tried, accepted or not.")


class GaussNewtonInference(IterativeInference):
    """Gauss-Newton in the prediction errors, damped sample by sample (Levenberg-Marquardt).

    All layers are linearised, and the network so linearised is solved exactly (theory.md 3.3). A
    linearisation is dear and serves several steps. A step that raises a sample's energy is not
    taken for that sample, and damped.
    """

    capability: ClassVar[Capability] = Capability.GAUSS_NEWTON_INFERENCE

    engine: Literal["gauss_newton"] = "gauss_newton"
    max_steps: PositiveInt = Field(50, description="Most steps.")
    reuse: PositiveInt = Field(
        3,
        description="Number of steps for which each linearisation is used; 1 linearises at every "
        "step.",
    )


class ErrorInference(IterativeInference):
    """Gradient descent in the prediction errors instead of the activities (ePC).

    With ``z_l = f_l(z_{l-1}) + e_l``, ``e ← e - step · ∂(N𝓕)/∂e`` (Goemaere et al. 2025,
    arXiv:2505.20137): one step reaches all layers.
    """

    capability: ClassVar[Capability] = Capability.ERROR_INFERENCE

    engine: Literal["error"] = "error"
    step: PositiveFloat = Field(
        0.05, description="In units of the inverse curvature; stable below 2/λ_max(I + KᵀK)."
    )


InferenceSettings = Annotated[
    ExactInference | GradientInference | OdeInference | GaussNewtonInference | ErrorInference,
    Field(discriminator="engine"),
]
