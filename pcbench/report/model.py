"""The model of a report, and its JSON Schema, which scripts rely on.

Every table, figure or comparison is made from this model alone, at any later time. It is strict
JSON: a number that is not finite is stored as ``null``, and the message beside it says what it was.
"""

from __future__ import annotations

import signal
from collections import Counter
from statistics import median, quantiles
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pcbench.checks import Check
from pcbench.claims import Claim
from pcbench.tolerances import ToleranceFactors

SCHEMA_VERSION: Final = 1
AS_WRITTEN: Final = "quick"
"""The size of a case as it is written, and of reports from before there were sizes."""

NOTHING_JUDGED: Final = 4
"""The exit code of a run in which no case passed or failed."""

CaseStatus = Literal["passed", "failed", "errored", "timeout", "skipped", "undecided"]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Series = Annotated[
    dict[str, list[float | None]],
    Field(description="Columns of equal length, by name; null where a value is not finite."),
]


class Record(BaseModel):
    """Part of a document that pcbench writes: frozen, strict JSON, no field but those named."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Timing(Record):
    """How long one thing took, over and over: raw samples, so that later tools can judge them."""

    name: str
    samples_s: list[Seconds] = Field(min_length=1, description="Seconds, one entry a repetition.")
    median_s: Seconds
    iqr_s: Seconds = Field(description="Interquartile range of the samples, in seconds.")
    peak_memory_bytes: int | None = Field(
        None, description="Peak accelerator memory, where the backend can tell."
    )
    details: dict[str, float | None] = Field(
        {}, description="What else it took or reached, by name; null where it is not finite."
    )

    @property
    def unsteady(self) -> bool:
        """Whether the spread is larger than the time itself."""
        return self.iqr_s > self.median_s

    @classmethod
    def of(
        cls,
        name: str,
        samples_s: list[float],
        peak_memory_bytes: int | None = None,
        details: dict[str, float | None] | None = None,
    ) -> Timing:
        """Summarise raw samples (seconds)."""
        low = high = 0.0
        if len(samples_s) > 1:
            low, _, high = quantiles(samples_s, n=4, method="inclusive")
        return cls(
            name=name,
            samples_s=samples_s,
            median_s=median(samples_s),
            iqr_s=high - low,
            peak_memory_bytes=peak_memory_bytes,
            details=details or {},
        )


class CaseResult(Record):
    """What one concrete case found."""

    id: str = Field(description="Unique in the report: suite-given id and matrix values.")
    suite: str = Field("", description="Name of the suite that it is from.")
    kind: str
    figure: str = Field("", description="Which figure of the paper it reproduces; empty if none.")
    parameters: dict[str, JsonValue] = Field(description="Resolved: defaults filled in.")
    backend: str
    device: str
    dtype: str
    seed: int
    status: CaseStatus
    message: str = Field("", description="Why it did not pass; else empty.")
    expected_failure: str = Field(
        "",
        description="The reason, given by the suite, why a check fails; the case passes if one "
        "does, and fails if none does.",
    )
    tolerance_factor: ToleranceFactors = Field(
        {}, description="What the suite multiplies tolerances by, by the names of checks, and why."
    )
    traceback: str = Field(
        "",
        description="Where the code of an errored case broke, or the last lines that its worker "
        "wrote, if it did not end by itself.",
    )
    contended: bool = Field(
        False,
        description="Whether other cases ran meanwhile; its times are not to be compared then.",
    )
    checks: list[Check] = []
    claims: list[Claim] = []
    timings: list[Timing] = []
    series: dict[str, Series] = {}
    omitted: dict[str, str] = Field(
        {}, description="Parts of the question that were not asked of this backend, and why."
    )
    digests: dict[str, str] = Field(
        {}, description="Digests of the samples, weights or starts that it was given, by name."
    )
    passed_over: list[str] = Field(
        [], description="Files of data that are not sound, and were passed over for others."
    )
    duration_s: Seconds = Field(description="Wall-clock seconds of the whole case.")


class Summary(Record):
    """Counts of cases by status."""

    passed: int = 0
    failed: int = 0
    errored: int = 0
    timeout: int = 0
    skipped: int = 0
    undecided: int = 0


class Environment(Record):
    """Where the numbers were made."""

    pcbench: str
    python: str
    platform: str
    processor: str
    cores: int
    packages: dict[str, str] = Field(description="Versions of what computes.")
    backends: dict[str, dict[str, JsonValue]] = Field(
        {}, description="What each backend says of itself: libraries, device, threads, precision."
    )
    commit: str = Field(
        "",
        description=(
            "Git commit of pcbench, with '-dirty' where files differ from it; empty where pcbench "
            "does not run from a checkout."
        ),
    )
    command: str = Field("", description="The command line; empty for a run from Python.")
    load: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None,
        description=(
            "How many processes ran or waited to, averaged over the minute before the run; null "
            "where the system does not tell."
        ),
    )


class Report(Record):
    """One run of one or more suites."""

    schema_version: Literal[1] = SCHEMA_VERSION
    suite: str
    size: str = Field(
        AS_WRITTEN, description="Which size of the cases ran; those without it ran as written."
    )
    created: str = Field(description="ISO 8601, UTC.")
    interrupted: bool = Field(False, description="Whether the run was cut off; cases are missing.")
    signal: str = Field("", description="The signal that cut it off, such as SIGTERM.")
    jobs: int = Field(1, ge=1, description="How many cases ran at a time.")
    shard: str = Field(
        "",
        pattern=r"^([1-9]\d{0,5}/[1-9]\d{0,5})?$",
        description="Which part of the cases ran, such as 2/3; empty for all.",
    )
    fingerprints: dict[str, str] = Field(
        {},
        description="Digests of what decides the numbers: the cases of all shards, pcbench's code, "
        "the environment and the data.",
    )
    duration_s: Seconds | None = Field(
        None,
        description="Wall-clock seconds of the run; less than its cases' sum where jobs overlap.",
    )
    environment: Environment
    summary: Summary
    cases: list[CaseResult]

    @property
    def exit_code(self) -> int:
        """The worst of what happened.

        0 nothing failed, 1 a check failed, 3 a case errored or took too long, 4 nothing was judged,
        128 and the signal's number, such as 130, if it was interrupted.
        """
        if self.interrupted:
            return 128 + signal.Signals[self.signal or "SIGINT"]
        if self.summary.errored or self.summary.timeout:
            return 3
        if self.summary.failed:
            return 1
        return 0 if self.summary.passed else NOTHING_JUDGED

    @staticmethod
    def summarise(cases: list[CaseResult]) -> Summary:
        """Count cases by status."""
        return Summary.model_validate(Counter(case.status for case in cases))


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) that every report this version writes satisfies."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:pcbench:report:{SCHEMA_VERSION}",
        **Report.model_json_schema(mode="serialization"),
        "title": "pcbench report",
    }
