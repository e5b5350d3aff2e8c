"""What an audit leaves behind: the JSON document that scripts rely on, and all of its verdicts."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from pcbench.contract.parts import Part
from pcbench.report import Environment

AUDIT_VERSION: Final = 1

Outcome = Literal["caught", "survived", "crashed", "out of time", "no difference", "not met"]
"""What became of a fault.

* caught: a check failed, first of all ``check`` of ``case``;
* survived: some answer was not that of the correct backend, and every check passed;
* crashed: no check failed, but a case broke off with an error;
* out of time: no check failed in the time that a case was given;
* no difference: cases asked what it corrupts, and every answer was right, number for number;
* not met: no case asks what it corrupts, or uses what it needs.
"""

EXERCISED: tuple[Outcome, ...] = ("caught", "survived", "crashed", "out of time")
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class AuditedCase(_Record):
    """A case under the correct backend."""

    id: str
    kind: str
    status: Literal["passed", "skipped", "undecided"]
    message: str = Field("", description="Why it did not pass; else empty.")
    duration_s: Seconds


class FaultResult(_Record):
    """What became of one fault."""

    name: str
    mistake: str = Field(description="What is wrong, in a sentence.")
    part: Part = Field(description="The part of the contract that it corrupts.")
    plugin: str = Field(description="The entry point that it came by.")
    outcome: Outcome
    claimed: bool = Field(description="Whether the suite claims to judge that part.")
    check: str = Field("", description="The first check that failed; empty if none did.")
    case: str = Field("", description="The case of that check, or that crashed; else empty.")
    message: str = Field("", description="What the check or the error says; else empty.")
    cases: int = Field(description="How many cases were run with it.")
    duration_s: Seconds

    @property
    def exercised(self) -> bool:
        """Whether it changed any answer, so that a check could have caught it."""
        return self.outcome in EXERCISED


class Score(_Record):
    """Counts of faults."""

    caught: int
    exercised: int = Field(description="Those that changed an answer: the others prove nothing.")
    catalogue: int = Field(description="All that were tried.")


class Audit(_Record):
    """One audit of one or more suites."""

    schema_version: Literal[1] = AUDIT_VERSION
    suite: str
    size: str
    created: str = Field(description="ISO 8601, UTC.")
    interrupted: bool = Field(False, description="Whether it was cut off; faults are missing.")
    duration_s: Seconds
    environment: Environment
    covers: list[Part] | None = Field(
        description="What the suites claim to judge; null if they do not say, and so claim every "
        "fault that changes an answer."
    )
    narrowed: bool = Field(
        description="Whether cases were left out or changed, or skipped: what is not met then may "
        "be met by the whole suite, and refutes no claim."
    )
    untried: int = Field(
        0, description="Faults of the catalogue that were not tried: not chosen, or cut off."
    )
    cases: list[AuditedCase] = Field(description="Under the correct backend, the cheapest first.")
    faults: list[FaultResult] = Field(description="In the order of the catalogue.")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def score(self) -> Score:
        """Counts of faults."""
        return Score(
            caught=sum(fault.outcome == "caught" for fault in self.faults),
            exercised=sum(fault.exercised for fault in self.faults),
            catalogue=len(self.faults),
        )

    @computed_field(description="Names of the faults that refute what the suite claims.")  # type: ignore[prop-decorator]
    @property
    def refuting(self) -> list[str]:
        """Names of the faults that refute what the suite claims."""
        return [
            fault.name
            for fault in self.faults
            if fault.claimed and fault.outcome != "caught"
            if fault.exercised or not self.narrowed
        ]

    @property
    def exit_code(self) -> int:
        """0 if no fault is missed that the suite should catch, 1 if one is, 130 if interrupted."""
        if self.interrupted:
            return 130
        return 1 if self.refuting else 0


def audit_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) that every audit this version writes satisfies."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:pcbench:audit:{AUDIT_VERSION}",
        **Audit.model_json_schema(mode="serialization"),
        "title": "pcbench audit",
    }
