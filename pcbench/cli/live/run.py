"""Progress of a run on standard error: a live display on a terminal, a line a case elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

from rich.markup import escape

from pcbench.cli.live.display import Bars, Log, say, shown
from pcbench.report import CaseResult
from pcbench.runner import Observer
from pcbench.suite import PlannedCase

# What needs no explanation at once: skips are told with their reasons at the end.
_EXPECTED = ("passed", "skipped")
MOST_OF_A_MESSAGE = 500  # characters; the whole of it is told at the end


def watch(*, quiet: bool) -> AbstractContextManager[Observer]:
    """Give an observer that shows what a run is doing; a silent one where ``quiet``."""
    live = partial(_Live, title="cases")
    return shown(quiet=quiet, silent=Observer, live=live, lines=_Lines)


class _Live(Bars, Observer):
    """A bar for the run and one for the current stage; what does not pass stays above them."""

    def run_started(self, cases: int) -> None:
        self._progress.update(self._whole, total=cases)
        self._progress.update(self._part, visible=False)

    def case_started(self, case: PlannedCase) -> None:
        self._progress.update(self._whole, description=escape(case.id))
        self._progress.update(self._part, visible=False)

    def stage_advanced(self, stage: str, done: int, total: int) -> None:
        if done == 0:  # its clock starts now
            self._progress.reset(self._part, total=total)
        self._progress.update(
            self._part, description=f"  {escape(stage)}", completed=done, total=total, visible=True
        )

    def case_finished(self, result: CaseResult) -> None:
        self._count(result.status)
        if result.status not in _EXPECTED:
            self._print(f"{result.status} {result.id}\n{_why(result)}")


class _Lines(Log, Observer):
    """One plain line a finished case, and why where it did not pass, for logs."""

    def run_started(self, cases: int) -> None:
        self._total = cases

    def case_finished(self, result: CaseResult) -> None:
        self._line(result.status, result.id, result.duration_s)
        if result.status not in _EXPECTED:
            say(_why(result))


def _why(result: CaseResult) -> str:
    """Give the message of a case, in one line that a log can hold."""
    text = " ".join(result.message.split())
    return "    " + (text if len(text) <= MOST_OF_A_MESSAGE else f"{text[:MOST_OF_A_MESSAGE]} …")
