"""Progress of a run on standard error: a live display on a terminal, a line a case elsewhere."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager

from rich.markup import escape
from rich.progress import Progress

from pcbench.cli.live.display import say, selection, shown, tally
from pcbench.report import CaseResult
from pcbench.runner import Observer
from pcbench.suite import PlannedCase

# What needs no explanation at once: skips are told with their reasons at the end.
_EXPECTED = ("passed", "skipped")
MOST_OF_A_MESSAGE = 500  # characters; the whole of it is told at the end


def watch(*, quiet: bool) -> AbstractContextManager[Observer]:
    """Give an observer that shows what a run is doing; a silent one where ``quiet``."""
    return shown(quiet=quiet, silent=Observer, live=_Live, lines=_Lines)


class _Live(Observer):
    """A bar for the run and one for the current stage; what does not pass stays above them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._outcomes: Counter[str] = Counter()
        self._run = progress.add_task("cases", total=None, note="")
        self._stage = progress.add_task("", total=None, visible=False, note="")

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        line = selection(expression, selected, of)
        self._progress.console.print(line, markup=False, highlight=False)

    def run_started(self, cases: int) -> None:
        self._progress.update(self._run, total=cases)

    def case_started(self, case: PlannedCase) -> None:
        self._progress.update(self._run, description=escape(case.id))
        self._progress.update(self._stage, visible=False)

    def stage_advanced(self, stage: str, done: int, total: int) -> None:
        if done == 0:  # its clock starts now
            self._progress.reset(self._stage, total=total)
        self._progress.update(
            self._stage, description=f"  {escape(stage)}", completed=done, total=total, visible=True
        )

    def case_finished(self, result: CaseResult) -> None:
        self._outcomes[result.status] += 1
        self._progress.update(self._run, advance=1, note=tally(self._outcomes))
        if result.status not in _EXPECTED:
            self._progress.console.print(
                f"{result.status} {result.id}\n{_why(result)}", markup=False, highlight=False
            )


class _Lines(Observer):
    """One plain line a finished case, and why where it did not pass, for logs."""

    def __init__(self) -> None:
        self._done = self._cases = 0

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        say(selection(expression, selected, of))

    def run_started(self, cases: int) -> None:
        self._cases = cases

    def case_finished(self, result: CaseResult) -> None:
        self._done += 1
        say(f"[{self._done}/{self._cases}] {result.status} {result.id} ({result.duration_s:.1f} s)")
        if result.status not in _EXPECTED:
            say(_why(result))


def _why(result: CaseResult) -> str:
    """Give the message of a case, in one line that a log can hold."""
    text = " ".join(result.message.split())
    return "    " + (text if len(text) <= MOST_OF_A_MESSAGE else f"{text[:MOST_OF_A_MESSAGE]} …")
