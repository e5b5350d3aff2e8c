"""The model of a case: its kind, and the run settings that every kind understands."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from pcbench import registry
from pcbench.case import Case, CaseParameters
from pcbench.contract.backend import DType
from pcbench.tolerances import ToleranceFactors


def load_kind(name: str) -> type[Case[Any]]:
    """Import the case kind of that name."""
    kind = registry.CASES.load_subclass(name, Case)
    parameters = getattr(kind, "Parameters", None)
    if not (isinstance(parameters, type) and issubclass(parameters, CaseParameters)):
        raise registry.BrokenPluginError(
            f"the case kind {name!r} has no model 'Parameters', a subclass of CaseParameters"
        )
    return kind


def _called(due: str) -> WrapValidator:
    """Say of whatever a field refuses that it must be ``due``."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("due", "it must be {due}", {"due": due}) from None

    return WrapValidator(validate)


def _known(backend: str) -> str:
    known = registry.BACKENDS.names()
    if backend in known:
        return backend
    hint = registry.did_you_mean(backend, known)
    # As a value, not as the template: a name may hold braces, which a template would fill in.
    reason = {"reason": f"unknown backend {backend!r}{hint}"}
    raise PydanticCustomError("unknown_name", "{reason}", reason)


_SIZES: JsonValue = [
    {"type": "integer", "minimum": 1, "maximum": 2**50},
    {"type": "string", "pattern": r"^\s*\d*\.?\d+\s*([kmgtKMGT][iI]?)?[bB]?\s*$"},
    {"type": "null"},
]


def _no_truth(value: Any) -> Any:
    """Refuse true and false, which pydantic takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError
    return value


Named = Annotated[str, Field(min_length=1)]
Bytes = Annotated[ByteSize, BeforeValidator(_no_truth), Field(gt=0, le=2**50)]
PositiveSeconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class RunSettings(BaseModel):
    """How a case is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(strict=True, ge=0), _called("an integer of at least 0")] = Field(
        0, description="All randomness of the case derives from it and from the case's identifier."
    )
    dtype: DType = Field("float64", description="Precision of the backend.")
    backend: Annotated[Named, _called("the name of a backend"), AfterValidator(_known)] = Field(
        registry.DEFAULT_BACKEND,
        description="Who computes.",
        json_schema_extra=lambda schema: schema.update(enum=[*registry.BACKENDS.names()]),
    )
    device: Annotated[Named, _called("the name of a device")] = Field(
        "cpu", description="'cpu', 'cuda', or whatever else the backend understands."
    )
    timeout: Annotated[PositiveSeconds | None, _called("seconds, such as 60, or null")] = Field(
        None, description="Seconds after which the case is stopped; --timeout where it says none."
    )
    memory_limit: Annotated[Bytes | None, _called("a size, such as '4 GiB', or null")] = Field(
        None,
        description="Memory that the case may take beyond what its worker holds, on Linux.",
        json_schema_extra=lambda schema: schema.update(anyOf=_SIZES),
    )
    tolerance_factor: ToleranceFactors = Field(
        {}, description="By the name of a check, what its tolerance is multiplied by, and why."
    )


RUN_SETTINGS = tuple(RunSettings.model_fields)
