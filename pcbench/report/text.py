"""Numbers, data, networks, prose and tables as people read them, the same in every rendering.

No name or number is broken. A table is as wide as its content. If the terminal is narrower, the
cells that name a row move to a line above the others; if that is not enough, the others are packed
into as many lines as they need. In a pipe or a file lines stay long.
"""

from __future__ import annotations

import errno
import os
import textwrap
from dataclasses import dataclass
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.text import Text

from pcbench.failures import apart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue


ABSENT = "–"
"""Shown where there is no value."""


def format_number(value: float | None) -> str:
    """Format with six significant digits: ``0.123457``, ``1.2e-13``."""
    return ABSENT if value is None else f"{value:.6g}"


def format_expected(relation: str, expected: float | tuple[float, float] | None) -> str:
    """Format what is demanded: ``≈ 0.25``, ``≤ 1``, ``∈ [0, 1]``."""
    if expected is None:
        return ABSENT
    if isinstance(expected, tuple):
        low, high = expected
        return f"{relation} [{format_number(low)}, {format_number(high)}]"
    return f"{relation} {format_number(expected)}"


def format_margin(margin: float | None) -> str:
    """Format a margin with its sign, since the sign is the verdict: ``+0.9831``, ``-12.5``."""
    return ABSENT if margin is None else f"{margin:+.4g}"


def format_share(share: float | None) -> str:
    """Format a share of one in percent: ``96.9%``."""
    return ABSENT if share is None else f"{share:.1%}"


def format_duration(seconds: float) -> str:
    """Format a duration with four significant digits in the unit that suits: ``12.3 ms``."""
    if seconds == 0:
        return "0 s"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def format_bytes(count: int | None) -> str:
    """Format an amount of memory: ``512 B``, ``1.5 GiB``."""
    if count is None:
        return ABSENT
    power = min(max(count.bit_length() - 1, 0) // 10, 3)
    return f"{count / 1024**power:.4g} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def format_apart(first: float | None, second: float | None) -> tuple[str, str]:
    """Format two different numbers with as many digits as it takes to tell them apart."""
    if first is None or second is None:
        return format_number(first), format_number(second)
    return apart(first, second)


def data_name(parameters: Mapping[str, JsonValue]) -> str:
    """Return the name of the dataset: ``mnist1d``."""
    data = parameters.get("data")
    name = data.get("name") if isinstance(data, dict) else data
    return name if isinstance(name, str) else ABSENT


def network_shape(parameters: Mapping[str, JsonValue]) -> str:
    """Return the hidden layers and the activation: ``5×300``, ``conv 64-128, 300-100 tanh``.

    The identity goes unsaid: a network is linear unless something is written beside its widths.
    """
    network = parameters.get("network")
    if not isinstance(network, dict):
        return ABSENT
    widths = network.get("widths")
    if isinstance(widths, list):
        shape = "-".join(map(str, widths)) or "no hidden layer"
    elif network.get("hidden_layers") is not None and network.get("width") is not None:
        shape = f"{network['hidden_layers']}×{network['width']}"
    else:
        return ABSENT
    convolutions = network.get("convolutions")
    layers = convolutions if isinstance(convolutions, list) else []
    channels = [str(layer.get("channels")) for layer in layers if isinstance(layer, dict)]
    if channels:
        shape = f"conv {'-'.join(channels)}, {shape}"
    activation = network.get("activation")
    return shape if activation in (None, "identity") else f"{shape} {activation}"


_UNLIMITED = 10**6
"""A width in cells that no table reaches."""

_GLUE = "\0"
"""Stands for a space at which a line must not be broken; no sentence has it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. Its title also labels its value where a row is stacked as a record."""

    title: str
    right: bool = False
    labelled: bool = True


def make_console(stream: TextIO) -> Console:
    """Make a console on a stream; colours only on a terminal, and none where NO_COLOR is set."""
    if isinstance(stream, TextIOWrapper):
        # A verdict is worth more than its typography: where the encoding has no "≈", escape it.
        stream.reconfigure(errors="backslashreplace")
    return _Console(file=stream, highlight=False, markup=False, emoji=False)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave the exit code to the command line: rich's is that of a verdict."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def plain(value: str, style: str = "") -> Text:
    """Return text that shows what is there: no markup is read, control characters are escaped."""
    if not value.isprintable():
        value = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode() for c in value
        )
    return Text(value, style)


def print_line(console: Console, *parts: Text, indent: int = 0) -> None:
    """Print parts side by side, two spaces apart, on a line as long as it takes."""
    console.print(Text(" " * indent) + Text("  ").join(parts), soft_wrap=True)


def print_prose(
    console: Console,
    sentence: str,
    *,
    indent: int = 0,
    style: str = "",
    names: Sequence[str] = (),
) -> None:
    """Print a sentence, broken between words where a terminal is narrow, but never in a name."""
    width = max(console.width - indent, 1) if console.is_terminal else _UNLIMITED
    for name in names:
        sentence = sentence.replace(name, name.replace(" ", _GLUE))
    for paragraph in sentence.splitlines():
        for line in textwrap.wrap(paragraph, width, break_long_words=False, break_on_hyphens=False):
            print_line(console, plain(line.replace(_GLUE, " "), style), indent=indent)


def print_items(
    console: Console,
    columns: Sequence[tuple[Column, Callable[..., str | Text]]],
    items: Sequence[tuple[Any, ...]],
    *,
    heads: int = 1,
) -> None:
    """Print a table with a row for each item: each column makes its cell of the item's parts."""
    rows = [[make(*item) for _, make in columns] for item in items]
    cells = [[plain(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    print_table(console, [column for column, _ in columns], cells, heads=heads)


def print_table(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Text]],
    *,
    heads: int = 1,
) -> None:
    """Print rows as a table, or as records where the terminal is narrower than the table.

    The first cells, as many as ``heads`` says, head a record together; where they are empty it
    continues the one above.
    """
    room = console.width if console.is_terminal else _UNLIMITED
    table = _lines(columns, rows)
    if _width(table) <= room:
        for line in table:
            print_line(console, line)
        return
    headings = [Text("  ").join(cell for cell in row[:heads] if cell) for row in rows]
    columns, rows = columns[heads:], [row[heads:] for row in rows]
    table = _lines(columns, rows)
    if _width(table) + 2 > room:
        for heading, row in zip(headings, rows, strict=True):
            _print_packed(console, heading, columns, row)
        return
    # Each row's heading stands on a line of its own, and its cells are aligned below it.
    for heading, line in zip([Text(), Text(), *headings], table, strict=True):
        if heading:
            print_line(console, heading)
        print_line(console, line, indent=2)


def _lines(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> list[Text]:
    """Lay out the titles, a rule, and a line a row, every column as wide as its widest cell."""
    titles = [plain(column.title, "dim") for column in columns]
    widths = [max(cell.cell_len for cell in cells) for cells in zip(titles, *rows, strict=True)]
    lines = []
    for row in (titles, *rows):
        cells = []
        for column, width, cell in zip(columns, widths, row, strict=True):
            space = Text(" " * (width - cell.cell_len))
            cells.append(space + cell if column.right else cell + space)
        lines.append(Text("  ").join(cells))
        lines[-1].rstrip()
    rule = plain("─" * (sum(widths) + 2 * len(widths) - 2), "dim")
    return [lines[0], rule, *lines[1:]]


def _width(lines: Sequence[Text]) -> int:
    return max(line.cell_len for line in lines)


def _print_packed(
    console: Console, head: Text, columns: Sequence[Column], row: Sequence[Text]
) -> None:
    """Print a row's heading on a line of its own, and its cells on as many lines as they need."""
    if head:
        print_line(console, head)
    indent = 2 if head else 4
    line: list[Text] = []
    for column, cell in zip(columns, row, strict=True):
        if not cell:
            continue
        piece = plain(f"{column.title} ", "dim") + cell if column.labelled else cell
        if line and indent + _width([Text("  ").join([*line, piece])]) > console.width:
            print_line(console, *line, indent=indent)
            line = []
        line.append(piece)
    print_line(console, *line, indent=indent)
