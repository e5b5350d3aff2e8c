"""Where progress is shown: nowhere, live on a terminal, or line by line in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Observer = TypeVar("Observer")


@contextmanager
def shown(
    *,
    quiet: bool,
    silent: Callable[[], Observer],
    live: Callable[[Progress], Observer],
    lines: Callable[[], Observer],
) -> Iterator[Observer]:
    """Give the observer for where standard error goes; the silent one where ``quiet``."""
    if quiet:
        yield silent()
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
            yield live(progress)
    else:
        yield lines()


def say(line: str) -> None:
    """Print a line of progress on standard error, at once."""
    print(line, file=sys.stderr, flush=True)
