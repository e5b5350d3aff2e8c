"""Claims that need no proof: what a paper says is so, and what runs with other luck say of it.

A check holds a backend to a theorem, and what misses it is wrong. A claim is about a comparison of
two learners, and a verdict on it rests on an interval over pairs of runs. It has three: data may
bear it out, or not, or leave it open. Where what it depends on is broken or absent, it is not
judged.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["borne out", "not borne out", "unresolved", "not judged"]
Ratio = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Claim(BaseModel):
    """A ratio of one learner to another that is claimed to be less than 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="What is claimed.")
    setting: str = Field(description="Where; with the name, unique within its case.")
    verdict: Verdict
    low: Ratio | None = Field(description="Lower end of the interval; null if infinite.")
    estimate: Ratio | None = Field(description="The sample's median ratio; null if open.")
    high: Ratio | None = Field(description="Upper end of the interval; null if infinite.")
    confidence: float | None = Field(
        ge=0, le=1, description="The interval's own; null where there are no pairs."
    )
    pairs: int = Field(ge=0, description="Over how many pairs of runs.")
    censored: dict[str, int] = Field(
        {}, description="By learner, runs that ended before what is timed happened; if it is."
    )
    required: bool = Field(
        description="Whether the suite insists: then it is also a check, unless it is unresolved."
    )
    source: str = Field(description="Who claims it.")
    message: str = Field("", description="Why it is not borne out; empty if it is.")

    @property
    def ratio(self) -> str:
        """The estimate and the interval: ``0.43 [0.4, 0.46]``, ``open [1.2, ∞]``."""
        low, high = ("∞" if end is None else f"{end:.3g}" for end in (self.low, self.high))
        estimate = "open" if self.estimate is None else f"{self.estimate:.3g}"
        return f"{estimate} [{low}, {high}]"
