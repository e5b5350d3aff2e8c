"""Progress of a run on standard error: a live display on a terminal, a line a case elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager

from rich.markup import escape
from rich.progress import Progress

from pcbench.cli.display import say, shown
from pcbench.report import CaseResult
from pcbench.runner import Observer
from pcbench.suite import PlannedCase


def watch(*, quiet: bool) -> AbstractContextManager[Observer]:
    """Give an observer that shows what a run is doing; a silent one where ``quiet``."""
    return shown(quiet=quiet, silent=Observer, live=_Live, lines=_Lines)


class _Live(Observer):
    """A bar for the run and one for the current stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._run = progress.add_task("cases", total=None)
        self._stage = progress.add_task("", total=None, visible=False)

    def run_started(self, cases: int) -> None:
        self._progress.update(self._run, total=cases)

    def case_started(self, case: PlannedCase) -> None:
        self._progress.update(self._run, description=escape(case.id))
        self._progress.update(self._stage, visible=False)

    def stage_advanced(self, stage: str, done: int, total: int) -> None:
        self._progress.update(
            self._stage, description=f"  {escape(stage)}", completed=done, total=total, visible=True
        )

    def case_finished(self, result: CaseResult) -> None:
        self._progress.advance(self._run)


class _Lines(Observer):
    """One plain line a finished case, for logs."""

    def __init__(self) -> None:
        self._done = self._cases = 0

    def run_started(self, cases: int) -> None:
        self._cases = cases

    def case_finished(self, result: CaseResult) -> None:
        self._done += 1
        say(f"[{self._done}/{self._cases}] {result.status} {result.id} ({result.duration_s:.1f} s)")
