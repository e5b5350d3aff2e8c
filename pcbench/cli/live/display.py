"""Progress of a run or an audit: live on a terminal, line by line in a log, or silent."""

from __future__ import annotations

import math
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from pcbench.suite import Suite

Observer = TypeVar("Observer")


@contextmanager
def shown(
    *,
    quiet: bool,
    silent: Callable[[], Observer],
    live: Callable[[Progress], Observer],
    lines: Callable[[], Observer],
) -> Iterator[Observer]:
    """Give the observer for where standard error goes; the silent one where ``quiet``.

    Every task of the live display has a field ``note``, the text beside its count.
    """
    if quiet:
        yield silent()
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


class Bars:
    """What every live display has: a bar for the whole with its outcomes, and one for a part."""

    def __init__(self, progress: Progress, title: str = "") -> None:
        self._progress = progress
        self._outcomes: Counter[str] = Counter()
        self._whole = progress.add_task(title, total=None, note="")
        self._part = progress.add_task("", total=None, note="")

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        """Print what ``-k`` selects, above the bars."""
        self._print(selection(expression, selected, of))

    def _print(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)

    def _count(self, outcome: str) -> None:
        """Advance the bar of the whole; beside it stands ``3 passed, 1 failed``."""
        self._outcomes[outcome] += 1
        note = ", ".join(f"{count} {each}" for each, count in self._outcomes.items())
        self._progress.update(self._whole, advance=1, note=note)


class Log:
    """What every log has: a plain line for each thing that is done, with its number."""

    def __init__(self) -> None:
        self._done = self._total = 0

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        """Print what ``-k`` selects."""
        say(selection(expression, selected, of))

    def _line(self, outcome: str, name: str, duration_s: float) -> None:
        self._done += 1
        say(f"[{self._done}/{self._total}] {outcome} {name} ({duration_s:.1f} s)")


def selection(expression: str, selected: int, of: int) -> str:
    """Say what ``-k`` selects."""
    return f"-k {shlex.quote(expression)} selects {selected} of {of} cases"


def say_selected(expression: str, suites: Sequence[Suite]) -> None:
    """Print what ``-k`` selects of suites."""
    selected = sum(len(suite.cases) for suite in suites)
    say(selection(expression, selected, sum(suite.total for suite in suites)))
