"""Compare two reports case by case: what changed, and whether it is worse."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from pcbench.compare.checks import (
    changed_inputs,
    compare_checks,
    compare_claims,
    pair,
    pair_cases,
    present_name,
)
from pcbench.compare.model import Change, Comparison, Effect, PairedTiming, Side
from pcbench.report.text import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcbench.report.model import CaseResult, CaseStatus, Environment, Report


_BROKEN: tuple[CaseStatus, ...] = ("errored", "timeout")
_UNKNOWN: tuple[CaseStatus, ...] = ("skipped", "undecided")


def _effect(was: CaseStatus, now: CaseStatus) -> Effect:
    """Say what a changed verdict means.

    Losing a verdict is worse whatever it was, so skipping is no way to be rid of a failure; and a
    failure that shows where nothing was known is worse too.
    """
    if now == "passed" or (was in _BROKEN and now == "failed"):
        return "better"
    lost = was in ("passed", "failed")
    return "worse" if lost or (was in _UNKNOWN and now not in _UNKNOWN) else "neutral"


_ORDER: tuple[Effect, ...] = ("worse", "neutral", "better")


def compare(base: Report, new: Report) -> Comparison:
    """Say what changed from one report to another, worst first.

    Worse are: a case or a check that is gone, that passed and does not pass now, or that is new
    and does not pass; a claim that is gone, or that was borne out and is not now; and, where the
    inputs are the same, a passed check whose observed or expected value moved further than its
    tolerance. Cases are paired by suite and identifier, checks and claims by name.
    """
    pairs = pair_cases(base, new)
    changes: list[Change] = []
    compared = judged = unchanged = 0
    for _, old, now in pairs:
        suite = {"suite": _suite(old, now)}
        found = list(_case(old, now, interrupted=new.interrupted))
        changes.extend(change.model_copy(update=suite) for change in found)
        if old and now:
            compared += 1
            judged += not _decided(old).isdisjoint(_decided(now))
            unchanged += not found
    return Comparison(
        base=_side(base),
        new=_side(new),
        notes=list(notes(base, new)),
        compared=compared,
        judged=judged,
        unchanged=unchanged,
        changes=sorted(changes, key=lambda change: _ORDER.index(change.effect)),
        timings=[timing for each in pairs for timing in _timings(*each)],
    )


def _case(old: CaseResult | None, now: CaseResult | None, *, interrupted: bool) -> Iterator[Change]:
    if old and now:
        yield from _both(old, now)
    elif now:
        effect = "worse" if now.status in ("failed", *_BROKEN) else "neutral"
        message = f"is a new case; it {_outcome(now)}"
        yield Change.maker(now.id)("case_added", effect, None, now.status, message)
    elif old:
        reason = "was not reached before the run was interrupted" if interrupted else "is gone"
        message = f"{reason}; it {_was(old)} before."
        yield Change.maker(old.id)("case_removed", "worse", old.status, None, message)


def _both(old: CaseResult, now: CaseResult) -> Iterator[Change]:
    change = Change.maker(now.id)
    if old.status != now.status:
        effect, message = _effect(old.status, now.status), f"{_was(old)} before; now it "
        yield change("case_verdict", effect, old.status, now.status, message + _outcome(now))
    inputs = changed_inputs(old, now)
    if inputs:
        shown = partial(json.dumps, ensure_ascii=False)
        listed = ", ".join(
            f"{path} from {shown(was)} to {shown(is_now)}" for path, (was, is_now) in inputs.items()
        )
        yield change(
            "parameters_changed",
            "neutral",
            {path: was for path, (was, _) in inputs.items()},
            {path: is_now for path, (_, is_now) in inputs.items()},
            f"was given other inputs, so its numbers are not compared: {listed}.",
        )
    yield from compare_checks(old, now, same_inputs=not inputs)
    yield from compare_claims(old, now)


def _suite(old: CaseResult | None, now: CaseResult | None) -> str:
    return next((each.suite for each in (now, old) if each and each.suite), "")


def _decided(case: CaseResult) -> set[str]:
    return {present_name(check) for check in case.checks if check.status != "undecided"}


def _timings(case: str, old: CaseResult | None, now: CaseResult | None) -> Iterator[PairedTiming]:
    before, after = (each.timings if each and not each.contended else [] for each in (old, now))
    for name, base, new in pair(before, after, lambda timing: timing.name):
        yield PairedTiming(suite=_suite(old, now), case=case, name=name, base=base, new=new)


def _side(report: Report) -> Side:
    return Side(
        suite=report.suite,
        created=report.created,
        pcbench=report.environment.pcbench,
        interrupted=report.interrupted,
        summary=report.summary,
    )


def _was(case: CaseResult) -> str:
    return "was skipped" if case.status == "skipped" else case.status


def _outcome(case: CaseResult) -> str:
    """Say how a case ended, with its reason or, where it gave none, that of a failed check."""
    reasons = [case.message, *(check.explanation for check in case.checks if not check.passed)]
    reason = next(filter(None, reasons), "")
    return f"{_was(case)}: {reason}" if reason else f"{_was(case)}."


def notes(base: Report, new: Report) -> Iterator[str]:
    """Yield a sentence for everything about the two runs that bears on the changes."""
    if base.suite != new.suite:
        yield (
            f"The reports are of different suites, {base.suite} and {new.suite}: "
            "only cases that both have are compared."
        )
    for side, report in (("base", base), ("new", new)):
        if report.interrupted:
            yield f"The {side} run was interrupted: cases are missing from its report."
    moves = Counter(
        (_place(old), _place(now))
        for _, old, now in pair_cases(base, new)
        if old and now and _place(old) != _place(now)
    )
    for (old_place, new_place), count in moves.items():
        cases = "1 case" if count == 1 else f"{count} cases"
        yield (
            f"{cases} ran with {old_place} before and with {new_place} now; "
            "their numbers are compared all the same."
        )
    was, is_now = _versions(base.environment), _versions(new.environment)
    versions = [
        f"{name} {was.get(name, ABSENT)} → {is_now.get(name, ABSENT)}"
        for name in {**was, **is_now}
        if was.get(name) != is_now.get(name)
    ]
    if versions:
        yield f"Versions and machines differ: {', '.join(versions)}."


def _place(case: CaseResult) -> str:
    return f"{case.backend} on {case.device}"


def _versions(environment: Environment) -> dict[str, str]:
    return {
        "pcbench": environment.pcbench,
        "Python": environment.python,
        **environment.packages,
        "platform": environment.platform,
        "processor": environment.processor,
    }
