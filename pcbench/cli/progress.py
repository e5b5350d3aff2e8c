"""Progress of a run on standard error: a live display on a terminal, a line a case elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pcbench.report import CaseResult
from pcbench.runner import Observer
from pcbench.suite import PlannedCase


@contextmanager
def watch(*, quiet: bool) -> Iterator[Observer]:
    """Give an observer that shows what a run is doing; a silent one where ``quiet``."""
    if quiet:
        yield Observer()
    elif sys.stderr.isatty():
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        with progress:
            yield _Live(progress)
    else:
        yield _Lines()


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
        print(
            f"[{self._done}/{self._cases}] {result.status} {result.id} ({result.duration_s:.1f} s)",
            file=sys.stderr,
            flush=True,
        )
