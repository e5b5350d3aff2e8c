"""What ``pcbench show REPORT`` prints."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from pcbench.errors import UsageError
from pcbench.registry import did_you_mean
from pcbench.report import CaseResult, Report, read_report
from pcbench.report.console import make_console, render_report
from pcbench.report.one_case import render_case
from pcbench.suite import QUICK, shipped_suites


def show_report(path: Path, case_id: str) -> None:
    """Print a report, or cases of it: those with the identifier, or whose family it names.

    Raises
    ------
    UsageError
        If the report cannot be read, or has no such case.
    """
    report, console = read_report(path), make_console(sys.stdout)
    if not case_id:
        render_report(report, console)
        return
    found = [case for case in report.cases if case_id in (case.id, f"{case.suite}: {case.id}")]
    found = found or [case for case in report.cases if case.id.startswith(f"{case_id}[")]
    if not found:
        hint = did_you_mean(case_id, [case.id for case in report.cases])
        raise UsageError(f"{path} has no case {case_id!r}{hint}")
    for case in found:
        render_case(case, report, console, again=_again(case, report))


def _again(case: CaseResult, report: Report) -> str:
    """Return the command that runs a case of a shipped suite; empty where the suite is another."""
    if case.suite not in shipped_suites():
        return ""
    size = "" if report.size == QUICK else f" --size {shlex.quote(report.size)}"
    return f"pcbench run {case.suite}{size} -k {shlex.quote(case.id)}"
