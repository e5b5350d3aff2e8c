"""Progress of an audit on standard error: live on a terminal, a line a fault elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

from rich.markup import escape

from pcbench.audit import AuditObserver, Fault, FaultResult
from pcbench.cli.live.display import Bars, Log, say, shown
from pcbench.suite import PlannedCase


def watch(*, quiet: bool) -> AbstractContextManager[AuditObserver]:
    """Give an observer that shows what an audit is doing; a silent one where ``quiet``."""
    live = partial(_Live, title="correct backend")
    return shown(quiet=quiet, silent=AuditObserver, live=live, lines=_Lines)


class _Live(Bars, AuditObserver):
    """A bar for the cases of the correct backend, then for the faults; below it, the case."""

    def correct_started(self, cases: int) -> None:
        self._progress.update(self._whole, total=cases)

    def case_started(self, case: PlannedCase) -> None:
        self._progress.reset(self._part, description=f"  {escape(case.id)}")

    def case_finished(self, case: PlannedCase) -> None:
        self._progress.advance(self._whole)

    def faults_started(self, faults: int) -> None:
        self._progress.reset(self._whole, total=faults)

    def fault_started(self, fault: Fault) -> None:
        self._progress.update(self._whole, description=escape(fault.name))

    def fault_finished(self, result: FaultResult) -> None:
        self._count(result.outcome)


class _Lines(Log, AuditObserver):
    """One plain line a fault, for logs."""

    def correct_started(self, cases: int) -> None:
        say(f"{cases} cases with the correct backend")

    def faults_started(self, faults: int) -> None:
        self._total = faults

    def fault_finished(self, result: FaultResult) -> None:
        self._line(result.outcome, result.name, result.duration_s)
