"""What the commands about data print, and the progress of fetching."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from pcbench.data import Places, dataset_class
from pcbench.data.fetch import Progress as Told
from pcbench.data.fetch import fetch
from pcbench.data.verify import Verified, verify
from pcbench.errors import UsageError
from pcbench.registry import DATASETS, BrokenPluginError
from pcbench.report.text import ABSENT, Column, format_bytes, plain, print_items, print_line


def render_datasets(places: Places, console: Console) -> None:
    """Print a row a dataset."""
    rows, broken = [], []
    for name in DATASETS.names():
        try:
            rows.append(_row(name, places))
        except BrokenPluginError as error:
            broken.append(str(error))
    facts = [
        (Column(head), lambda row, column=column: row[column])
        for column, head in enumerate(("dataset", "here", "to fetch", "what it is"))
    ]
    print_items(console, facts, [(row,) for row in rows])
    print_line(console)
    broken.insert(0, f"Looked for in {places}; fetched into {places.cache}.")
    for sentence in broken:
        print_line(console, plain(sentence))


def _row(name: str, places: Places) -> tuple[str, str, str, str]:
    dataset = dataset_class(name)
    located = dataset.locate(places)
    here = [split for split, place in located.items() if place]
    size = sum(file.size for file in dataset.published)
    hosts = {urlsplit(file.sources[0]).hostname for file in dataset.published}
    source = f"{format_bytes(size)} from {', '.join(sorted(map(str, hosts)))}" if size else ABSENT
    return name, ", ".join(here) or ("no" if located else "always"), source, dataset.description


def fetch_datasets(names: Sequence[str], places: Places, *, quiet: bool) -> Iterator[Path]:
    """Fetch datasets into the cache; yield the place of each file."""
    wanted = [dataset_class(name) for name in dict.fromkeys(names)]  # all names before any file
    for dataset in wanted:
        if not dataset.published:
            known = [name for name in DATASETS.names() if dataset_class(name).published]
            raise UsageError(
                f"{dataset.name} has nothing to fetch; those that have are {', '.join(known)}"
            )
    for dataset in wanted:
        for file in dataset.published:
            with _bytes_of(file.path, file.size, quiet=quiet) as progress:
                place = fetch(file, places.cache, progress)
            yield place


@contextmanager
def _bytes_of(name: str, size: int, *, quiet: bool) -> Iterator[Told]:
    """Give what shows how much of a file is here: a bar on a terminal, lines in a log."""
    if quiet:
        yield lambda have: None
    elif not sys.stderr.isatty():
        told = [0]

        def tell(have: int) -> None:
            if have * 10 // size > told[-1]:
                told.append(have * 10 // size)
                print(f"{name}: {10 * told[-1]} % of {format_bytes(size)}", file=sys.stderr)

        yield tell
    else:
        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
        console = Console(stderr=True)
        with Progress(*columns, TransferSpeedColumn(), console=console, transient=True) as shown:
            task = shown.add_task(name, total=size)
            yield lambda have: shown.update(task, completed=have)


def render_verified(names: Sequence[str], places: Places, console: Console) -> bool:
    """Print a row a split; return whether all that is asked about is sound and here."""
    found: list[Verified] = []
    for name in dict.fromkeys(names or DATASETS.names()):
        print(f"reading {name}", file=sys.stderr)
        found += verify(name, places)
    facts = [
        (Column("dataset"), lambda each: each.dataset),
        (Column("split"), lambda each: each.split),
        (Column("verdict"), lambda each: each.verdict),
        (Column(""), lambda each: each.detail),
    ]
    print_items(console, facts, [(each,) for each in found])
    bad = {"not sound", "not here"} if names else {"not sound"}
    return not any(each.verdict in bad for each in found)
