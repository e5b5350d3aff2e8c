"""From a report to files: each case is drawn by what its kind has for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pcbench.errors import UsageError
from pcbench.registry import FIGURES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pcbench.report import CaseResult, Report

Format = Literal["svg", "png", "pdf"]


class Drawn(NamedTuple):
    """A figure, and what it is called beside its case."""

    name: str
    figure: Figure


Draw = Callable[["CaseResult"], Iterator[Drawn]]
"""Yields the figures of a case; nothing where the case has not what they need."""


def draw_report(report: Report, folder: Path, format: Format) -> Iterator[Path]:
    """Draw every case of a report whose kind has figures; yield each file once it is written.

    Raises
    ------
    UsageError
        If matplotlib is not installed, or the folder cannot be written.
    """
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise UsageError(f"matplotlib is missing ({error}); pip install 'pcbench[plot]'") from error
    from pcbench.figures.style import save, styled

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with styled():
            for case in report.cases:
                if case.kind not in FIGURES.names():
                    continue
                draw: Draw = FIGURES.load(case.kind)
                for name, figure in draw(case):
                    path = folder / f"{_file_name(f'{case.suite} {case.id} {name}')}.{format}"
                    save(figure, path, format)
                    yield path
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{folder} cannot be written: {reason}; choose another --out") from error


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9=.]+", "-", name).strip("-")[:150]
