"""Join the reports of a run's shards into one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcbench.errors import UsageError
from pcbench.report.model import CaseResult, Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class MergeError(UsageError):
    """Reports are not the shards of one run. The message names them and what is wrong."""


def merge_reports(reports: Mapping[str, Report]) -> Report:
    """Return the report of a whole run, with the cases in the order of its suites.

    Parameters
    ----------
    reports
        Reports of all shards, by what they are called in messages.

    Raises
    ------
    MergeError
        If a report is of no shard or was interrupted, a shard is missing or there twice, or two are
        of different suites, code, data or versions.
    """
    shards: dict[int, str] = {}
    for name, report in reports.items():
        part, slash, parts = report.shard.partition("/")
        if not slash:
            raise MergeError(f"{name} is of no shard; make one with pcbench run --shard 1/2 --json")
        if report.interrupted:
            raise MergeError(f"{name} is of a run that was cut off; finish it with --resume first")
        if int(part) in shards:
            raise MergeError(f"{name} and {shards[int(part)]} are both of shard {report.shard}")
        shards[int(part)] = name
    first_name, first = next(iter(reports.items()))
    for name, report in reports.items():
        if differences := [what for what, a, b in _compared(first, report) if a != b]:
            raise MergeError(
                f"{name} and {first_name} are not of one run: they differ in "
                f"{', '.join(differences)}; run the shards again with the same of each"
            )
    missing = [str(i) for i in range(1, int(parts) + 1) if i not in shards]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        listed = ", ".join(missing)
        raise MergeError(f"of {parts} shards {listed} {verb} missing; name all reports")
    ordered = [reports[shards[part]] for part in sorted(shards)]
    total = sum(len(report.cases) for report in ordered)
    cases: list[CaseResult | None] = [None] * total
    for offset, report in enumerate(ordered):
        if len(report.cases) != len(range(offset, total, len(ordered))):
            name = shards[offset + 1]
            raise MergeError(f"{name} has not all cases of its shard; run the shard again")
        cases[offset :: len(ordered)] = report.cases
    whole = [case for case in cases if case]
    return first.model_copy(
        update={
            "created": max(report.created for report in ordered),
            "duration_s": sum(report.duration_s or 0.0 for report in ordered),
            "shard": "",
            "summary": Report.summarise(whole),
            "cases": whole,
        }
    )


def _compared(one: Report, other: Report) -> Iterable[tuple[str, object, object]]:
    """Yield what shards must have in common, with what it is called."""
    yield "the number of shards", one.shard.partition("/")[2], other.shard.partition("/")[2]
    yield "their suites", one.suite, other.suite
    yield "the size", one.size, other.size
    for what in ("cases", "code", "data"):
        yield f"their {what}", one.fingerprints.get(what), other.fingerprints.get(what)
    yield "the version of Python", one.environment.python, other.environment.python
    yield "the versions of libraries", one.environment.packages, other.environment.packages
