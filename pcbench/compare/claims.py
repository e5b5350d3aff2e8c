"""Claim by claim: verdicts alone, for their numbers are what runs with other luck give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcbench.compare.model import Change, Effect
from pcbench.compare.pairing import pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcbench.claims import Claim
    from pcbench.report.model import CaseResult


def compare_claims(base: CaseResult, new: CaseResult) -> Iterator[Change]:
    """Yield what changed among the claims of a case, in their order.

    Not borne out and unresolved are neither better than the other. A claim that is new changes
    nothing that was known; one that a case no longer reached, since it errored or was skipped,
    follows from the verdict of the case.
    """
    complete = {base.status, new.status} <= {"passed", "failed", "undecided"}
    for _, old, now in pair(base.claims, new.claims, lambda claim: (claim.name, claim.setting)):
        if old and now and old.verdict != now.verdict:
            yield _verdict(old, now, new.id)
        elif complete and old and not now:
            yield _removed(old, new.id)


def _verdict(old: Claim, now: Claim, case: str) -> Change:
    effect: Effect = "neutral"
    if "borne out" in (old.verdict, now.verdict):
        effect = "better" if now.verdict == "borne out" else "worse"
    because = f": {now.message}" if now.message else "."
    return Change(
        kind="claim_verdict",
        effect=effect,
        case=case,
        check=_named(now),
        base=old.verdict,
        new=now.verdict,
        message=f"{old.verdict} before, at {old.ratio}, and {now.verdict} now, at {now.ratio}"
        f"{because}",
    )


def _removed(old: Claim, case: str) -> Change:
    return Change(
        kind="claim_removed",
        effect="worse",
        case=case,
        check=_named(old),
        base=old.verdict,
        message=f"is put to the test no more; it was {old.verdict} before.",
    )


def _named(claim: Claim) -> str:
    return f"{claim.name} ({claim.setting})"
