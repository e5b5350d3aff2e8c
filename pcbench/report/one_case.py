"""One case on a terminal: all that its result holds, from what was asked to how to ask it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pcbench.report.console import STYLES, grounds, print_claims, print_timings
from pcbench.report.text import (
    format_duration,
    format_expected,
    format_margin,
    format_number,
    plain,
    print_line,
    print_prose,
)

if TYPE_CHECKING:
    from pydantic import JsonValue
    from rich.console import Console

    from pcbench.checks import Check
    from pcbench.report.model import CaseResult, Report

_INDENT = 2
_ASIDE = "dim"


def render_case(case: CaseResult, report: Report, console: Console, *, again: str = "") -> None:
    """Print one case of a report: its checks, each with its grounds, and all else it found.

    ``again`` is the command that runs it again, if that is known.
    """
    print_line(console, plain(case.status, STYLES[case.status]), plain(case.id, "bold"))
    facts = [f"suite {case.suite}" if case.suite else "", f"kind {case.kind}"]
    facts += [f"figure {case.figure}" if case.figure else ""]
    facts += [f"{case.backend} on {case.device}", case.dtype, f"seed {case.seed}"]
    facts += [format_duration(case.duration_s)]
    print_line(console, plain(" · ".join(filter(None, facts)), _ASIDE))
    for sentence in _sentences(case):
        print_prose(console, sentence, names=[case.id])
    for check in case.checks:
        console.print()
        _print_check(check, console)
    console.print()
    alone = report.model_copy(update={"cases": [case]})
    print_claims(alone, console)
    print_timings(alone, console)
    sections = {
        "parameters": _lines(case.parameters),
        "digests of what it was given": _lines(case.digests),
        "run by": filter(None, [report.environment.command]),
        "run it again": filter(None, [again]),
    }
    for title, lines in sections.items():
        _print_section(title, list(lines), console)


def _print_section(title: str, lines: list[str], console: Console) -> None:
    if lines:
        print_line(console, plain(title, "bold"))
        for line in lines:
            print_line(console, plain(line), indent=_INDENT)
        console.print()


def _sentences(case: CaseResult) -> Iterator[str]:
    """Yield what is to be said of the whole case."""
    told = {check.explanation for check in case.checks} | {check.message for check in case.checks}
    if case.message and case.message not in told:
        yield case.message
    if case.expected_failure:
        yield f"The suite expects that a check fails: {case.expected_failure}"
    for part, reason in case.omitted.items():
        yield f"Without {part}: {reason}."
    for file in case.passed_over:
        yield f"{file}: passed over."
    if case.contended:
        yield "Other cases ran meanwhile, so its times are not to be compared."


def _print_check(check: Check, console: Console) -> None:
    print_line(
        console, plain(f"{check.status:<9}", STYLES[check.status]), plain(check.name, "bold")
    )
    if check.observed is not None:
        demand = format_expected(check.relation, check.expected)
        margin = f"; margin {format_margin(check.margin)}" if check.margin is not None else ""
        found = f"{format_number(check.observed)}, to be {demand}{margin}"
        where = f" ({check.where})" if check.where else ""
        times = f"; the tightest of {check.comparisons:,}" if check.comparisons > 1 else ""
        print_prose(console, f"{found}{where}{times}.", indent=_INDENT)
    if check.message:
        print_prose(console, check.explanation, indent=_INDENT, names=[check.name])
    print_prose(console, grounds(check), indent=_INDENT, style=_ASIDE)


def _lines(values: dict[str, JsonValue] | dict[str, str], above: str = "") -> Iterator[str]:
    """Yield ``network.width: 300`` for every value, without those that are null."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{above}{key}.")
        elif value is not None:
            yield f"{above}{key}: {value}"
