"""Where progress is shown: nowhere, live on a terminal, or line by line in a log."""

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


def tally(outcomes: Counter[str]) -> str:
    """Write counts, such as ``3 passed, 1 failed``, in the order in which they first came up."""
    return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())


def selection(expression: str, selected: int, of: int) -> str:
    """Say what ``-k`` selects."""
    return f"-k {shlex.quote(expression)} selects {selected} of {of} cases"


def say_selected(expression: str, suites: Sequence[Suite]) -> None:
    """Print what ``-k`` selects of suites."""
    selected = sum(len(suite.cases) for suite in suites)
    say(selection(expression, selected, sum(suite.total for suite in suites)))
