"""Progress of an audit on standard error: live on a terminal, a line a fault elsewhere."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager

from rich.markup import escape
from rich.progress import Progress

from pcbench.audit import AuditObserver, Fault, FaultResult
from pcbench.cli.live.display import say, selection, shown, tally
from pcbench.suite import PlannedCase


def watch(*, quiet: bool) -> AbstractContextManager[AuditObserver]:
    """Give an observer that shows what an audit is doing; a silent one where ``quiet``."""
    return shown(quiet=quiet, silent=AuditObserver, live=_Live, lines=_Lines)


class _Live(AuditObserver):
    """A bar for the cases of the correct backend, then for the faults; below it, the case."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._outcomes: Counter[str] = Counter()
        self._whole = progress.add_task("correct backend", total=None, note="")
        self._case = progress.add_task("", total=None, note="")

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        line = selection(expression, selected, of)
        self._progress.console.print(line, markup=False, highlight=False)

    def correct_started(self, cases: int) -> None:
        self._progress.update(self._whole, total=cases)

    def case_started(self, case: PlannedCase) -> None:
        self._progress.reset(self._case, description=f"  {escape(case.id)}")

    def case_finished(self, case: PlannedCase) -> None:
        self._progress.advance(self._whole)

    def faults_started(self, faults: int) -> None:
        self._progress.reset(self._whole, total=faults)

    def fault_started(self, fault: Fault) -> None:
        self._progress.update(self._whole, description=escape(fault.name))

    def fault_finished(self, result: FaultResult) -> None:
        self._outcomes[result.outcome] += 1
        self._progress.update(self._whole, advance=1, note=tally(self._outcomes))


class _Lines(AuditObserver):
    """One plain line a fault, for logs."""

    def __init__(self) -> None:
        self._done = self._faults = 0

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        say(selection(expression, selected, of))

    def correct_started(self, cases: int) -> None:
        say(f"{cases} cases with the correct backend")

    def faults_started(self, faults: int) -> None:
        self._faults = faults

    def fault_finished(self, result: FaultResult) -> None:
        self._done += 1
        say(
            f"[{self._done}/{self._faults}] {result.outcome} {result.name} "
            f"({result.duration_s:.1f} s)"
        )
