"""How inference is asked for: the engines by name, each with its settings.

An engine is added by a subclass of :class:`IterativeInference` and its name in ``ENGINES``.

All engines start from the feedforward activities. The *relative residual* is ``‖∂(N𝓕)/∂z‖`` over
the hidden activities, divided by its value at that start (absolute where that is zero).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    model_validator,
)

from pcbench.contract.parts import Capability
from pcbench.named import ModelOf
from pcbench.registry import BrokenPluginError, Registry


class Engine(BaseModel):
    """What all engines have in common.

    Attributes
    ----------
    engine
        The name, which a subclass declares as ``engine: Literal["name"] = "name"``.
    capability
        What a backend declares that has the engine: ``name_inference``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    capability: ClassVar[str]

    if TYPE_CHECKING:
        engine: str

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "engine" in cls.model_fields:
            cls.capability = f"{cls.model_fields['engine'].default}_inference"


class ExactInference(Engine):
    """The equilibrium of a linear network in closed form, to the accuracy of the dtype."""

    engine: Literal["exact"] = "exact"


class IterativeInference(Engine):
    """An engine that stops at a residual, or at its budget."""

    residual: PositiveFloat = Field(
        1e-6, lt=1, description="Stop once ‖∂(N𝓕)/∂z‖ is this fraction of its initial value."
    )
    max_steps: PositiveInt = Field(10_000, description="Most steps.")
    record: bool = Field(False, description="Keep the energy of every layer at every step.")

    @classmethod
    def cautious(cls, curvature: float, **settings: Any) -> IterativeInference:
        """Return settings with which inference ends at no higher energy than it began.

        Parameters
        ----------
        curvature
            No curvature of a sample's energy is larger, where that is no higher than at the start.
        settings
            Settings that are given.
        """
        step = {"step": 1 / curvature} if "step" in cls.model_fields else {}
        return cls(**(step | settings))


class GradientInference(IterativeInference):
    """Gradient descent on the energy in the hidden activities.

    ``z ← z - step · ∂(N𝓕)/∂z`` for every sample, until the relative residual is reached or the
    budget of steps is spent. ``preset: paper`` is what the paper's notebooks do: up to 50 steps of
    0.1, the step halved whenever the energy rises, until it is 0.025.
    """

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

    engine: Literal["error"] = "error"
    step: PositiveFloat = Field(
        0.05, description="In units of the inverse curvature; stable below 2/λ_max(I + KᵀK)."
    )


ENGINES = Registry(
    "pcbench.engines",
    "engine",
    {
        "exact": ExactInference,
        "gradient": GradientInference,
        "ode": OdeInference,
        "gauss_newton": GaussNewtonInference,
        "error": ErrorInference,
    },
)
"""Settings by the engine's name; from outside, by an entry point of its group or ``add``."""


def engine_settings(name: str) -> type[Engine]:
    """Return the settings of an engine.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    BrokenPluginError
        If it cannot be imported, or is no settings of that name.
    """
    found: type[Engine] = ENGINES.load_subclass(name, Engine)
    field = found.model_fields.get("engine")
    if field is None or field.default != name:
        raise BrokenPluginError(
            f"the engine {name!r} has no setting engine: Literal[{name!r}] = {name!r}"
        )
    return found


def engines() -> Iterator[tuple[str, type[Engine]]]:
    """Yield the settings of all engines by name, without those that are broken."""
    for name in ENGINES.names():
        with suppress(BrokenPluginError):
            yield name, engine_settings(name)


def capabilities() -> list[str]:
    """Return all that a backend may declare: the contract's, and engines from outside."""
    declared = [*Capability, *(settings.capability for _, settings in engines())]
    return list(dict.fromkeys(map(str, declared)))


InferenceSettings = Annotated[
    SerializeAsAny[Engine], ModelOf(ENGINES, engine_settings, key="engine")
]
"""Accepts ``{engine: gradient, step: 0.1}``, or an engine's built settings."""
