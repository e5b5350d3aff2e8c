"""The audit on a terminal: a row a fault, what is not caught and what to do, and the score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pcbench.audit.model import EXERCISED
from pcbench.report.text import Column, plain, print_line, print_prose, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pcbench.audit.model import Audit, FaultResult, Outcome

_STYLES: dict[Outcome, str] = {
    "caught": "green",
    "survived": "bold red",
    "crashed": "bold magenta",
    "out of time": "bold magenta",
    "no difference": "dim",
    "not met": "dim",
}
_ASIDE = "dim"
_INDENT = 2
_ADVICE: dict[Outcome, str] = {
    "survived": "These changed answers, and every check passed. Add a check of what they corrupt, "
    "or leave the part out of what the suite covers.",
    "crashed": "These broke a case off before any check failed: that tells that something is "
    "wrong, not what. Let the case check what it is given before it goes on with it.",
    "out of time": "No check failed in the time that a case was given with these. Add a smaller "
    "case, in which they show sooner.",
    "no difference": "Cases ask what these corrupt, and every answer was right, number for number: "
    "nothing in the suite can tell them.",
    "not met": "No case asks what these corrupt, or uses what they need.",
}


def render_audit(audit: Audit, console: Console, *, verbose: bool = False) -> None:
    """Print an audit: a table of the faults that changed an answer, the others, and the score.

    Where ``verbose``, also list, one by one, the faults that are no part of what the suite claims
    and that no case could tell.
    """
    parts = "all that its cases ask" if audit.covers is None else ", ".join(audit.covers)
    made = plain(f"pcbench {audit.environment.pcbench} · {audit.created}", _ASIDE)
    print_line(console, plain(audit.suite, "bold"), made)
    print_prose(console, f"claims to check: {parts}", style=_ASIDE)
    console.print()
    exercised = [fault for fault in audit.faults if fault.exercised]
    if exercised:
        _print_table(exercised, console)
    for outcome in _ADVICE:
        _print_uncaught(audit, outcome, console, verbose=verbose)
    score = audit.score
    cut = "; interrupted, the faults after these were not tried" if audit.interrupted else ""
    counts = (
        f"{score.caught} caught of {score.exercised} that changed an answer, of {score.catalogue} "
        f"tried, in {audit.duration_s:.1f} s{cut}"
    )
    print_line(console, plain(counts))
    print_line(console, _verdict(audit))


def _print_table(faults: Sequence[FaultResult], console: Console) -> None:
    names = ("fault", "mistake", "part", "outcome", "check", "case", "cases", "time")
    columns = [
        Column(name, labelled=name not in ("mistake", "outcome"), right=name in ("cases", "time"))
        for name in names
    ]
    rows = [
        [
            plain(fault.name),
            plain(fault.mistake),
            plain(fault.part if fault.claimed else f"({fault.part})"),
            plain(fault.outcome, _STYLES[fault.outcome]),
            plain(fault.check),
            plain(fault.case),
            plain(str(fault.cases)),
            plain(f"{fault.duration_s:.2f} s"),
        ]
        for fault in faults
    ]
    print_table(console, columns, rows)
    legend = "A check is the first that failed, in the cheapest case that has one that does."
    if not all(fault.claimed for fault in faults):
        legend += " The suite does not say that it checks the parts in brackets."
    print_prose(console, legend, style=_ASIDE)
    console.print()


def _print_uncaught(audit: Audit, outcome: Outcome, console: Console, *, verbose: bool) -> None:
    """Print the faults of an outcome, those first that the suite says it checks."""
    faults = [fault for fault in audit.faults if fault.outcome == outcome]
    named = [fault for fault in faults if fault.claimed or verbose or outcome in EXERCISED]
    if not faults:
        return
    print_line(console, plain(f"{len(faults)} {outcome}", _STYLES[outcome]))
    print_prose(console, _ADVICE[outcome], indent=_INDENT, style=_ASIDE)
    for fault in sorted(named, key=lambda fault: not fault.claimed):
        claim = "" if fault.claimed else "  (not claimed)"
        part = plain(f"{fault.part}{claim}", _ASIDE)
        print_line(console, plain(fault.name, "bold"), part, plain(fault.mistake), indent=_INDENT)
        if fault.message:
            where = f"{fault.case}: {fault.message}"
            print_prose(console, where, indent=2 * _INDENT, names=[fault.case])
    if len(named) < len(faults):
        others = len(faults) - len(named)
        aside = f"{others} not claimed; --verbose names them"
        print_line(console, plain(aside, _ASIDE), indent=_INDENT)
    console.print()


def _verdict(audit: Audit) -> Text:
    """Make the last line: whether the suite judges what it claims to."""
    claimed = [fault for fault in audit.faults if fault.claimed]
    untold = ", ".join(fault.name for fault in claimed if fault.outcome != "caught")
    if audit.refuting:
        missed = ", ".join(audit.refuting)
        return plain("Missed", "bold red") + plain(
            f": {missed}. The suite claims to check these parts, but passed."
        )
    if untold:
        return plain("None missed", "yellow") + plain(
            ", but not all were tried: cases were left out, changed or skipped, and those "
            f"that are left do not meet {untold}."
        )
    if not claimed:
        return plain("Nothing shown", "yellow") + plain(
            ": none of these faults is in a part that the suite says it checks."
        )
    if audit.untried:
        return plain("None missed so far", "green") + plain(
            f": every fault that was tried in the parts that the suite checks is caught; "
            f"{audit.untried} were not tried."
        )
    return plain("None missed", "green") + plain(
        ": every fault in the parts that the suite checks is caught."
    )
