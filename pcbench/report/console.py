"""The report on a terminal: what failed and why, one row a case, what was skipped, the count."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from rich.text import Text

from pcbench.report.model import AS_WRITTEN, NOTHING_JUDGED
from pcbench.report.text import (
    ABSENT,
    Column,
    data_name,
    format_bytes,
    format_duration,
    format_expected,
    format_margin,
    format_number,
    format_share,
    make_console,
    network_shape,
    plain,
    print_items,
    print_line,
    print_prose,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from pcbench.checks import Check
    from pcbench.claims import Claim, Verdict
    from pcbench.report.model import CaseResult, Report, Timing

__all__ = ["make_console", "render_report"]

STYLES = {
    "passed": "green",
    "failed": "bold red",
    "errored": "bold magenta",
    "timeout": "bold magenta",
    "skipped": "yellow",
    "undecided": "cyan",
}
_VERDICTS: dict[Verdict, str] = {
    "borne out": "green",
    "not borne out": "bold red",
    "unresolved": "yellow",
    "not judged": "yellow",
}
_TITLE = "bold"
_ASIDE = "dim"
_INDENT = 9
_NO_REASON = "No reason was recorded."
_LEGEND = "Margins are in tolerances, from the edge of what is allowed; negative is outside."
_LEGEND_TIGHTEST = "A case that passed shows its tightest check."
_LEGEND_CLAIMS = (
    "Ratios are medians over pairs of runs, with intervals. A claim is borne out where "
    "all of one is below 1, unresolved where runs do not tell, not judged where training is broken."
)
UNSTEADY = " (unsteady)"
"""Stands behind a time whose spread is larger than itself, and behind ratios that it is part of."""
_LEGEND_UNSTEADY = (
    "Unsteady: the interquartile range is larger than the median of either time; neither it nor "
    "a ratio made of it says much. Time it again on a machine that does nothing else."
)
_LEGEND_CONTENDED = (
    "Times were taken while other cases ran, and are not to be compared; --jobs 1 takes them alone."
)
BP = "gradients of the loss (BP)"
"""The timing that others are expressed in: backpropagation of the same network and batch."""
_SETTINGS = ("backend", "device", "dtype", "seed")


def render_report(
    report: Report, console: Console, *, verbose: bool = False, quiet: bool = False
) -> None:
    """Print a report: failures with their reasons, the tables, skips, timings, and the count.

    ``verbose`` makes a row for every check, where otherwise a case that passed shows its tightest
    one; ``quiet`` leaves only the failures and the count.
    """
    report = report.model_copy(update={"cases": _told_apart(report.cases)})
    broken = [
        case
        for status in ("failed", "errored", "timeout", "undecided")
        for case in _with(report, status)
    ]
    if not quiet:
        _print_heading(report, console)
    _print_broken(broken, console)
    if not quiet:
        _print_cases(report, [*broken, *_with(report, "passed")], console, verbose=verbose)
        print_claims(report, console)
        _print_together(
            _with(report, "skipped"), console, lambda case: (case.message or _NO_REASON,)
        )
        _print_together(
            [case for case in _with(report, "passed") if case.expected_failure],
            console,
            lambda case: (f"A check fails, as the suite expects: {case.expected_failure}",),
        )
        _print_together(
            [case for case in report.cases if case.tolerance_factor],
            console,
            lambda case: tuple(
                f"The tolerance of {name} is multiplied by {by.factor:g}: {by.reason}"
                for name, by in case.tolerance_factor.items()
            ),
        )
        _print_together(
            [case for case in report.cases if case.passed_over],
            console,
            lambda case: tuple(f"{each}: passed over." for each in case.passed_over),
        )
        _print_together(
            [case for case in report.cases if case.omitted],
            console,
            lambda case: tuple(f"Without {part}: {why}." for part, why in case.omitted.items()),
            "in part",
        )
        print_timings(report, console)
    print_line(console, _count(report))


def _told_apart(cases: Sequence[CaseResult]) -> list[CaseResult]:
    """Put the suite before an identifier that cases of two suites share."""
    uses = Counter(name for name, _ in {(case.id, case.suite) for case in cases})
    return [
        case.model_copy(update={"id": f"{case.suite}: {case.id}"})
        if uses[case.id] > 1 and case.suite
        else case
        for case in cases
    ]


def _with(report: Report, status: str) -> list[CaseResult]:
    return [case for case in report.cases if case.status == status]


def _varying(report: Report) -> list[str]:
    """Return the settings that differ from case to case: they get columns, others the heading."""
    return [name for name in _SETTINGS if len({getattr(case, name) for case in report.cases}) > 1]


def _print_heading(report: Report, console: Console) -> None:
    varying = _varying(report)
    common = [
        f"seed {case.seed}" if setting == "seed" else getattr(case, setting)
        for case in report.cases[:1]
        for setting in _SETTINGS
        if setting not in varying
    ]
    if report.size != AS_WRITTEN:
        common.insert(0, f"size {report.size}")
    aside = " · ".join([*common, f"pcbench {report.environment.pcbench}", report.created])
    print_line(console, plain(report.suite, _TITLE), plain(aside, _ASIDE))
    console.print()


def _print_broken(broken: list[CaseResult], console: Console) -> None:
    """Print each case that was not passed or skipped, with a sentence for every reason."""
    for case in broken:
        _print_head(case, console)
        decisive = "undecided" if case.status == "undecided" else "failed"
        failed = [check for check in case.checks if check.status == decisive]
        reasons = [_reason(check) for check in failed]
        told = {"", " ".join(reasons), *reasons, *(check.message for check in failed)}
        if case.message not in told:
            print_prose(console, case.message, indent=_INDENT, names=[case.id])
        elif not failed:
            print_prose(console, _NO_REASON, indent=_INDENT)
        for check, reason in zip(failed, reasons, strict=True):
            print_prose(console, reason, indent=_INDENT, names=[check.name, case.id])
            print_prose(console, grounds(check), indent=_INDENT, style=_ASIDE)
        console.print()


def _print_head(case: CaseResult, console: Console, word: str = "") -> None:
    # The words are padded to one length, so that identifiers are aligned with each other.
    style = STYLES["skipped" if word else case.status]
    print_line(console, plain(f"{word or case.status:<7}", style), plain(case.id, _TITLE))


def _status(status: str) -> Text:
    return plain(status, STYLES[status])


def _reason(check: Check) -> str:
    demand = format_expected(check.relation, check.expected)
    return (
        check.explanation
        or f"{check.name}: {format_number(check.observed)} {demand} does not hold."
    )


def grounds(check: Check) -> str:
    """Say what demands the check, and what was allowed: the two things to doubt a verdict by."""
    if check.tolerance is None:
        return f"Demanded by {check.source}."
    return (
        f"Demanded by {check.source}; tolerance {format_number(check.tolerance)}, "
        f"from {check.derivation}."
    )


def _print_cases(
    report: Report, cases: list[CaseResult], console: Console, *, verbose: bool
) -> None:
    if not cases:
        return
    names = ["figure", "id"] if any(case.figure for case in cases) else ["id"]
    columns: list[tuple[Column, Callable[[CaseResult | None, Check | None], str | Text]]] = [
        *((Column("case" if each == "id" else each), _of_case(attrgetter(each))) for each in names),
        (Column("data", labelled=False), _of_case(lambda case: data_name(case.parameters))),
        (Column("network", labelled=False), _of_case(lambda case: network_shape(case.parameters))),
        *((Column(setting), _of_case(attrgetter(setting))) for setting in _varying(report)),
        (Column("checks", right=True), _of_case(lambda case: len(case.checks))),
        (Column("check", labelled=False), _of_check(lambda check: check.name)),
        (Column("observed", right=True), _of_check(lambda check: format_number(check.observed))),
        (
            Column("expected"),
            _of_check(lambda check: format_expected(check.relation, check.expected)),
        ),
        (Column("margin", right=True), _of_check(lambda check: format_margin(check.margin))),
        (
            Column("status", labelled=False),
            lambda case, check: _status(case.status if case else check.status if check else ""),
        ),
        (Column("time", right=True), _of_case(lambda case: f"{case.duration_s:.2f} s")),
    ]
    rows: list[tuple[CaseResult | None, Check | None]] = []
    for case in cases:
        if verbose or case.status != "passed":
            rows += [(case, None), *((None, check) for check in case.checks)]
        else:
            rows.append((case, min(case.checks, key=_margin, default=None)))
    print_items(console, columns, rows, heads=len(names))
    legend = _LEGEND if verbose else f"{_LEGEND_TIGHTEST} {_LEGEND}"
    print_prose(console, legend, style=_ASIDE)
    console.print()


def _of_case(cell: Callable[[CaseResult], object]) -> Callable[..., str]:
    return lambda case, _: str(cell(case)) if case else ""


def _of_check(cell: Callable[[Check], str]) -> Callable[..., str]:
    return lambda _, check: cell(check) if check else ""


def _margin(check: Check) -> float:
    return -math.inf if check.margin is None else check.margin


def print_claims(report: Report, console: Console) -> None:
    """Print a row for each claim of a report's cases; nothing if there are none."""
    claimed = [(case, claim) for case in report.cases for claim in case.claims]
    if not claimed:
        return
    columns: list[tuple[Column, Callable[[CaseResult, Claim], str | Text]]] = [
        (Column("case"), lambda case, _: case.id),
        (Column("claim", labelled=False), lambda _, claim: claim.name),
        (Column("setting", labelled=False), lambda _, claim: claim.setting),
        (Column("ratio", right=True), lambda _, claim: claim.ratio),
        (Column("confidence", right=True), lambda _, claim: format_share(claim.confidence)),
        (Column("pairs", right=True), lambda _, claim: str(claim.pairs)),
        (Column("required"), lambda _, claim: "yes" if claim.required else "no"),
        (
            Column("verdict", labelled=False),
            lambda _, claim: plain(claim.verdict, _VERDICTS[claim.verdict]),
        ),
    ]
    print_items(console, columns, claimed)
    print_prose(console, _LEGEND_CLAIMS, style=_ASIDE)
    console.print()


def _print_together(
    cases: list[CaseResult],
    console: Console,
    sentences: Callable[[CaseResult], tuple[str, ...]],
    word: str = "",
) -> None:
    """Print cases with their status or another word, and once, below all that share it, why."""
    together: dict[tuple[str, ...], list[CaseResult]] = {}
    for case in cases:
        together.setdefault(sentences(case), []).append(case)
    for reasons, alike in together.items():
        for case in alike:
            _print_head(case, console, word)
        names = [*(case.id for case in alike), *alike[0].omitted]
        for reason in reasons:
            print_prose(console, reason, indent=_INDENT, names=names)
        console.print()


def print_timings(report: Report, console: Console) -> None:
    """Print a row for each timing of a report's cases; nothing if there are none."""
    timed = [(case, timing) for case in report.cases for timing in case.timings]
    if not timed:
        return
    columns: list[tuple[Column, Callable[[CaseResult, Timing], str]]] = [
        (Column("case"), lambda case, _: case.id),
        (Column("timing", labelled=False), lambda _, timing: timing.name),
        (Column("median", right=True), lambda _, timing: format_duration(timing.median_s)),
        (Column("IQR", right=True), lambda _, one: f"{format_duration(one.iqr_s)}{_mark(one)}"),
        (Column("repeats", right=True), lambda _, timing: str(len(timing.samples_s))),
    ]
    details = dict.fromkeys(name for _, timing in timed for name in timing.details)
    optional: list[tuple[str, Callable[[CaseResult, Timing], str]]] = [
        ("BP steps", _in_bp_steps),
        *((name, partial(_detail, name)) for name in details),
        ("peak memory", lambda _, timing: format_bytes(timing.peak_memory_bytes)),
    ]
    for name, cell in optional:
        if {cell(*each) for each in timed} != {ABSENT}:  # what no case has is not worth a column
            columns.append((Column(name, right=True), cell))
    print_items(console, columns, timed)
    if any(timing.unsteady for _, timing in timed):
        print_prose(console, _LEGEND_UNSTEADY, style=_ASIDE)
    if any(case.contended for case, _ in timed):
        print_prose(console, _LEGEND_CONTENDED, style=_ASIDE)
    console.print()


def _mark(*timings: Timing) -> str:
    return UNSTEADY if any(timing.unsteady for timing in timings) else ""


def _in_bp_steps(case: CaseResult, timing: Timing) -> str:
    """Say how often the loss's gradients, where the case timed them, fit into the time."""
    bp = next((each for each in case.timings if each.name == BP), None)
    if bp is None or bp.median_s <= 0:
        return ABSENT
    return f"{timing.median_s / bp.median_s:.3g}{_mark(timing, bp)}"


def _detail(name: str, _: CaseResult, timing: Timing) -> str:
    value = timing.details.get(name)
    if value is None:
        return ABSENT
    return f"{value:.0f}" if value == round(value) else f"{value:.4g}"


def _count(report: Report) -> Text:
    """Make the last line: ``42 passed, 0 failed, 0 errored, 3 skipped in 35.1 s``.

    Undecided cases, and those that took too long, are counted where there are any.
    """
    counts = [
        # A status that did not occur keeps its word and loses its colour.
        plain(f"{count} {status}", STYLES[status] if count else "")
        for status, count in report.summary.model_dump().items()
        if count or status not in ("timeout", "undecided")
    ]
    summed = sum(case.duration_s for case in report.cases)
    seconds = summed if report.duration_s is None else report.duration_s
    cut = ""
    if report.interrupted:
        cut = "; interrupted, the cases after these did not run"
    elif report.exit_code == NOTHING_JUDGED:
        cut = "; nothing was judged"
    return Text(", ").join(counts) + plain(f" in {seconds:.1f} s{cut}")
