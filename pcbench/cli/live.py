"""Progress of a run or an audit on standard error: live on a terminal, line by line in a log."""

from __future__ import annotations

import math
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pcbench.audit import AuditObserver, Fault, FaultResult
from pcbench.report import CaseResult
from pcbench.runner import Observer
from pcbench.suite import PlannedCase

# What needs no explanation at once: skips are told with their reasons at the end.
_EXPECTED = ("passed", "skipped")
MOST_OF_A_MESSAGE = 500  # characters; the whole of it is told at the end

T = TypeVar("T")


def watch_run(*, quiet: bool, suites: int) -> AbstractContextManager[Observer]:
    """Give an observer that shows what a run of so many suites is doing; silent where ``quiet``."""
    named = suites > 1
    return _shown(
        Observer() if quiet else None,
        live=partial(_RunBars, title="cases", named=named),
        lines=partial(_RunLines, named=named),
    )


def watch_audit(*, quiet: bool) -> AbstractContextManager[AuditObserver]:
    """Give an observer that shows what an audit is doing; a silent one where ``quiet``."""
    live = partial(_AuditBars, title="correct backend")
    return _shown(AuditObserver() if quiet else None, live=live, lines=_AuditLines)


@contextmanager
def _shown(
    silent: T | None, *, live: Callable[[Progress], T], lines: Callable[[], T]
) -> Iterator[T]:
    """Give the silent observer, if there is one, else that for where standard error goes.

    Every task of the live display has a field ``note``, the text beside its count.
    """
    if silent is not None:
        yield silent
    elif sys.stderr.isatty():
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            # Over all that was done: of cases that take minutes the last half-minute knows none.
            speed_estimate_period=math.inf,
        )
        with progress:
            yield live(progress)
    else:
        yield lines()


def say(line: str) -> None:
    """Print a line of progress on standard error, at once."""
    print(line, file=sys.stderr, flush=True)


def selection(expression: str, selected: int, of: int) -> str:
    """Say what ``-k`` selects."""
    return f"-k {shlex.quote(expression)} selects {selected} of {of} cases"


class _Bars:
    """A bar for the whole with its outcomes, and one for a part."""

    def __init__(self, progress: Progress, title: str = "") -> None:
        self._progress = progress
        self._outcomes: Counter[str] = Counter()
        self._whole = progress.add_task(title, total=None, note="")
        self._part = progress.add_task("", total=None, note="")

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        self._print(selection(expression, selected, of))

    def _print(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)

    def _count(self, outcome: str) -> None:
        """Advance the bar of the whole; beside it stands ``3 passed, 1 failed``."""
        self._outcomes[outcome] += 1
        note = ", ".join(f"{count} {each}" for each, count in self._outcomes.items())
        self._progress.update(self._whole, advance=1, note=note)


class _Log:
    """A plain line for each thing that is done, with its number."""

    def __init__(self) -> None:
        self._done = self._total = 0

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        say(selection(expression, selected, of))

    def _line(self, outcome: str, name: str, duration_s: float) -> None:
        self._done += 1
        say(f"[{self._done}/{self._total}] {outcome} {name} ({duration_s:.1f} s)")


class _RunBars(_Bars, Observer):
    """A bar for the run and one for the current stage; what does not pass stays above them."""

    def __init__(self, progress: Progress, title: str = "", *, named: bool = False) -> None:
        super().__init__(progress, title)
        self._named = named

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
            self._print(f"{result.status} {_name(result, self._named)}\n{_why(result)}")


class _RunLines(_Log, Observer):
    """One plain line a finished case, and why where it did not pass."""

    def __init__(self, *, named: bool = False) -> None:
        super().__init__()
        self._named = named

    def run_started(self, cases: int) -> None:
        self._total = cases

    def case_finished(self, result: CaseResult) -> None:
        self._line(result.status, _name(result, self._named), result.duration_s)
        if result.status not in _EXPECTED:
            say(_why(result))


def _name(result: CaseResult, named: bool) -> str:
    """Name a case, with its suite where there are several."""
    return f"{result.suite}: {result.id}" if named else result.id


def _why(result: CaseResult) -> str:
    """Give the message of a case, in one line that a log can hold."""
    text = " ".join(result.message.split())
    return "    " + (text if len(text) <= MOST_OF_A_MESSAGE else f"{text[:MOST_OF_A_MESSAGE]} …")


class _AuditBars(_Bars, AuditObserver):
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


class _AuditLines(_Log, AuditObserver):
    """One plain line a fault."""

    def correct_started(self, cases: int) -> None:
        say(f"{cases} cases with the correct backend")

    def faults_started(self, faults: int) -> None:
        self._total = faults

    def fault_finished(self, result: FaultResult) -> None:
        self._line(result.outcome, result.name, result.duration_s)
