"""The model of a comparison, which is made from two reports alone and written as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field, JsonValue, computed_field

from pcbench.report.model import Record, Summary, Timing

Effect = Literal["worse", "neutral", "better"]
ChangeKind = Literal[
    "case_added",
    "case_removed",
    "case_verdict",
    "parameters_changed",
    "check_added",
    "check_removed",
    "check_verdict",
    "claim_removed",
    "claim_verdict",
    "expected_changed",
    "tolerance_changed",
    "observed_drifted",
]


class Change(Record):
    """One thing that differs between the two reports."""

    kind: ChangeKind
    effect: Effect
    suite: str = Field("", description="Suite of the case; empty where a report does not say.")
    case: str = Field(description="Identifier of the case.")
    check: str = Field("", description="Name of the check or claim; empty for the case as a whole.")
    base: JsonValue = Field(None, description="What the base report has; null where nothing.")
    new: JsonValue = Field(None, description="What the new report has; null where nothing.")
    message: str = Field(description="One sentence, without the names of the case and the check.")

    @classmethod
    def maker(cls, case: str, check: str = "") -> Callable[..., Change]:
        """Return what makes changes of a case, or of one of its checks or claims.

        It takes kind, effect, ``base``, ``new`` and message, in this order.
        """
        return lambda kind, effect, base, new, message: cls(
            kind=kind, effect=effect, case=case, check=check, base=base, new=new, message=message
        )


class PairedTiming(Record):
    """One timing in both reports, raw samples included. Kept, not judged."""

    suite: str = ""
    case: str
    name: str
    base: Timing | None
    new: Timing | None


class Side(Record):
    """Which report stood on one side."""

    suite: str
    created: str
    pcbench: str
    interrupted: bool
    summary: Summary


class Comparison(Record):
    """What changed from a base report to a new one."""

    base: Side
    new: Side
    notes: list[str] = Field(description="What to know when reading the changes, a sentence each.")
    compared: int = Field(description="How many cases both reports have.")
    judged: int = Field(description="How many of those have a check that both decide.")
    unchanged: int = Field(description="How many of those have no change.")
    changes: list[Change] = Field(description="Worst first, then in the order of the suite.")
    timings: list[PairedTiming]

    @computed_field(description="Whether anything got worse.")  # type: ignore[prop-decorator]
    @property
    def regression(self) -> bool:
        """Whether anything got worse."""
        return self.count("worse") > 0

    @property
    def exit_code(self) -> int:
        """0 nothing got worse, 1 something did, 4 there was nothing to compare."""
        return 1 if self.regression else 0 if self.judged else 4

    def count(self, effect: Effect) -> int:
        """How many changes have that effect."""
        return sum(change.effect == effect for change in self.changes)
