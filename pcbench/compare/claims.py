"""Compare the claims of a case: only their verdicts, since their numbers vary from run to run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pcbench.compare.checks import both_complete
from pcbench.compare.model import Change, Effect
from pcbench.compare.pairing import pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcbench.report.model import CaseResult


def compare_claims(base: CaseResult, new: CaseResult) -> Iterator[Change]:
    """Yield what changed among the claims of a case, in their order.

    Neither of "not borne out" and "unresolved" is better than the other. A new claim is no change.
    A claim that is missing because the case errored or was skipped is not listed: the verdict of
    the case says so.
    """
    for (name, setting), old, now in pair(
        base.claims, new.claims, lambda claim: (claim.name, claim.setting)
    ):
        change = partial(Change, case=new.id, check=f"{name} ({setting})")
        if old and now and old.verdict != now.verdict:
            effect: Effect = "neutral"
            if "borne out" in (old.verdict, now.verdict):
                effect = "better" if now.verdict == "borne out" else "worse"
            because = f": {now.message}" if now.message else "."
            yield change(
                kind="claim_verdict",
                effect=effect,
                base=old.verdict,
                new=now.verdict,
                message=f"{old.verdict} before, at {old.ratio}, and {now.verdict} now, "
                f"at {now.ratio}{because}",
            )
        elif old and not now and both_complete(base, new):
            yield change(
                kind="claim_removed",
                effect="worse",
                base=old.verdict,
                message=f"is put to the test no more; it was {old.verdict} before.",
            )
