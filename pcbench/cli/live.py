"""Progress of a run or an audit on standard error: live on a terminal, line by line in a log."""

from __future__ import annotations

import math
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
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


@contextmanager
def watch_run(*, quiet: bool, suites: int) -> Iterator[Observer]:
    """Give an observer that shows what a run of so many suites is doing; silent where ``quiet``."""
    with _live(quiet=quiet) as progress:
        yield Observer() if quiet else _WatchedRun(progress, "cases", named=suites > 1)


@contextmanager
def watch_audit(*, quiet: bool) -> Iterator[AuditObserver]:
    """Give an observer that shows what an audit is doing; a silent one where ``quiet``."""
    with _live(quiet=quiet) as progress:
        yield AuditObserver() if quiet else _WatchedAudit(progress, "correct backend")


@contextmanager
def _live(*, quiet: bool) -> Iterator[Progress | None]:
    """Give a live display; ``None`` where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(file=_standard_error()),
        transient=True,
        # Over all that was done: of cases that take minutes the last half-minute knows none.
        speed_estimate_period=math.inf,
    )
    with progress:
        yield progress


class _Unfailing:
    """A stream that takes whatever is written: progress that nobody can see must not end a run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _standard_error() -> TextIO:
    return cast(TextIO, _Unfailing(sys.stderr))


def say(line: str) -> None:
    """Print a line of progress on standard error, at once."""
    print(line, file=_standard_error(), flush=True)


def selection(expression: str, selected: int, of: int) -> str:
    """Say what ``-k`` selects."""
    return f"-k {shlex.quote(expression)} selects {selected} of {of} cases"


class _Watched:
    """A bar for the whole, with its outcomes, and one for a part; or a line for all that is done.

    What needs an explanation has it above the bars, or below its line.
    """

    def __init__(self, progress: Progress | None = None, title: str = "") -> None:
        self._log = progress is None
        self._progress = progress or Progress(disable=True)
        self._outcomes: Counter[str] = Counter()
        self._whole = self._progress.add_task(title, total=None, note="")
        self._part = self._progress.add_task("", total=None, note="")

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        self._say(selection(expression, selected, of))

    def _say(self, text: str) -> None:
        if self._log:
            say(text)
        else:
            self._progress.console.print(text, markup=False, highlight=False)

    def _begin(self, total: int) -> None:
        self._progress.reset(self._whole, total=total)
        self._progress.update(self._part, visible=False)

    def _finish(self, outcome: str, name: str, duration_s: float, why: str = "") -> None:
        """Advance the bar of the whole; beside it stands ``3 passed, 1 failed``."""
        self._outcomes[outcome] += 1
        note = ", ".join(f"{count} {each}" for each, count in self._outcomes.items())
        self._progress.update(self._whole, advance=1, note=note)
        line = f"{outcome} {name}"
        if self._log:
            whole = self._progress.tasks[0]
            line = f"[{whole.completed:.0f}/{whole.total or 0:.0f}] {line} ({duration_s:.1f} s)"
        if self._log or why:
            self._say("\n".join(filter(None, (line, why))))


class _WatchedRun(_Watched, Observer):
    """Shows a run; ``named`` puts the suite before a case, where there are several."""

    def __init__(
        self, progress: Progress | None = None, title: str = "", *, named: bool = False
    ) -> None:
        super().__init__(progress, title)
        self._named = named
        # The bars of the cases that run, by their identifiers, which two suites may share.
        self._parts: dict[str, list[TaskID]] = {}

    def run_started(self, cases: int) -> None:
        self._begin(cases)

    def case_started(self, case: PlannedCase) -> None:
        part = self._progress.add_task(f"  {escape(case.id)}", total=None, note="")
        self._parts.setdefault(case.id, []).append(part)

    def stage_advanced(self, case: PlannedCase, stage: str, done: int, total: int) -> None:
        if self._log or not self._parts.get(case.id):  # a case tells at every step
            return
        part = self._parts[case.id][-1]
        if done == 0:  # its clock starts now
            self._progress.reset(part, total=total)
        description = f"  {escape(case.id)}: {escape(stage)}"
        at_an_end = done in (0, total)  # which one that is short would hardly show otherwise
        self._progress.update(
            part, description=description, completed=done, total=total, refresh=at_an_end
        )

    def case_finished(self, result: CaseResult) -> None:
        if self._parts.get(result.id):
            self._progress.remove_task(self._parts[result.id].pop())
        name = f"{result.suite}: {result.id}" if self._named else result.id
        why = "" if result.status in _EXPECTED else _why(result)
        self._finish(result.status, name, result.duration_s, why)

    def warned(self, sentence: str) -> None:
        self._say(sentence)


def _why(result: CaseResult) -> str:
    """Give the message of a case, in one line that a log can hold."""
    text = " ".join(result.message.split())
    return "    " + (text if len(text) <= MOST_OF_A_MESSAGE else f"{text[:MOST_OF_A_MESSAGE]} …")


class _WatchedAudit(_Watched, AuditObserver):
    """Shows an audit: the cases of the correct backend, then the faults, and the current case."""

    def correct_started(self, cases: int) -> None:
        self._begin(cases)
        if self._log:
            say(f"{cases} cases with the correct backend")

    def case_started(self, case: PlannedCase) -> None:
        self._progress.reset(self._part, description=f"  {escape(case.id)}", visible=True)

    def case_finished(self, case: PlannedCase) -> None:
        self._progress.advance(self._whole)

    def faults_started(self, faults: int) -> None:
        self._begin(faults)

    def fault_started(self, fault: Fault) -> None:
        self._progress.update(self._whole, description=escape(fault.name))

    def fault_finished(self, result: FaultResult) -> None:
        self._finish(result.outcome, result.name, result.duration_s)
