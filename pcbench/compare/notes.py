"""Notes on a comparison: different suites, backends or versions, and interrupted runs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pcbench.compare.pairing import pair_cases
from pcbench.report.numbers import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcbench.report.model import CaseResult, Environment, Report


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
    versions = list(_differing(_versions(base.environment), _versions(new.environment)))
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


def _differing(base: dict[str, str], new: dict[str, str]) -> Iterator[str]:
    for name in {**base, **new}:
        was, is_now = base.get(name, ABSENT), new.get(name, ABSENT)
        if was != is_now:
            yield f"{name} {was} → {is_now}"
