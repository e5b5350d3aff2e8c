"""Tables and prose that never break a name or a number.

A table is as wide as its content. If the terminal is narrower, the cells that name a row move to a
line above the others; if that is not enough, the others are packed into as many lines as they need.
In a pipe or a file lines stay long.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from io import TextIOWrapper
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    return Console(file=stream, highlight=False, markup=False, emoji=False)


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
    if _width(table) + 2 <= room:
        _print_under_heads(console, headings, table)
    else:
        for heading, row in zip(headings, rows, strict=True):
            _print_packed(console, heading, columns, row)


def _lines(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> list[Text]:
    """Lay out the titles, a rule, and a line a row, every column as wide as its widest cell."""
    titles = [plain(column.title, "dim") for column in columns]
    widths = [max(cell.cell_len for cell in cells) for cells in zip(titles, *rows, strict=True)]
    rule = plain("─" * (sum(widths) + 2 * len(widths) - 2), "dim")
    titles_line, *lines = (_padded(columns, widths, row) for row in (titles, *rows))
    return [titles_line, rule, *lines]


def _padded(columns: Sequence[Column], widths: Sequence[int], row: Sequence[Text]) -> Text:
    cells = []
    for column, width, cell in zip(columns, widths, row, strict=True):
        space = Text(" " * (width - cell.cell_len))
        cells.append(space + cell if column.right else cell + space)
    line = Text("  ").join(cells)
    line.rstrip()
    return line


def _width(lines: Sequence[Text]) -> int:
    return max(line.cell_len for line in lines)


def _print_under_heads(console: Console, heads: Sequence[Text], table: Sequence[Text]) -> None:
    """Print each row's heading on a line of its own, and its cells aligned below it."""
    titles, rule, *lines = table
    for line in (titles, rule):
        print_line(console, line, indent=2)
    for head, line in zip(heads, lines, strict=True):
        if head:
            print_line(console, head)
        print_line(console, line, indent=2)


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
