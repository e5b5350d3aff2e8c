"""``pcbench compare``: what changed between two reports, for CI."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pcbench.cli.options import Json


def compare(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="The report to compare with.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The report to judge.")],
    json: Json = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only what got worse.")
    ] = False,
) -> None:
    """Compare two JSON reports.

    Exit code 0 if nothing got worse, 1 if anything did, 2 if a report cannot be read, 4 if nothing
    was compared: the reports share no case, or no check that is decided in both.
    """
    from pcbench.compare import compare as compare_reports
    from pcbench.compare.console import render_comparison
    from pcbench.report import check_writable, read_report, write_text
    from pcbench.report.console import make_console

    if json is not None:
        check_writable(json)
    comparison = compare_reports(read_report(base), read_report(new))
    if json is not None:
        write_text(comparison.model_dump_json(indent=2) + "\n", json)
    render_comparison(comparison, make_console(sys.stdout), quiet=quiet)
    raise typer.Exit(comparison.exit_code)
