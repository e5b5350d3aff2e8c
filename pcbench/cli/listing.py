"""``pcbench list``: suites that come with pcbench, their cases, and what plug-ins there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pcbench.cli.options import Selection, Size

if TYPE_CHECKING:
    from pcbench.suite import OutlinedCase, PlannedCase


def list_suites(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE]...", help="Suites whose cases to list.")
    ] = None,
    size: Size = "quick",
    select: Selection = "",
) -> None:
    """List the shipped suites, or the cases of the suites given, or those that -k selects."""
    from pcbench.suite import load_suites, outlines, shipped_suites

    if select:
        from pcbench.cli.live.display import say_selected

        chosen = load_suites(suites or shipped_suites().values(), size=size, select=select)
        for each in chosen:
            for planned in each.cases:
                typer.echo(f"{_line(planned)}  suite {each.name}")
        say_selected(select, chosen)
        return
    found = outlines(suites or shipped_suites().values(), size=size)  # before anything is printed
    if suites:
        for case in (case for suite in found for case in suite.cases):
            typer.echo(_line(case))
        return
    from pcbench.registry import BACKENDS, CASES, DATASETS

    typer.echo("suites")
    for name, suite in zip(shipped_suites(), found, strict=True):
        sizes = f" (sizes {', '.join(suite.sizes)})" if len(suite.sizes) > 1 else ""
        typer.echo(f"  {name}  {len(suite.cases)} cases  {suite.description}{sizes}")
    for registry in (CASES, DATASETS, BACKENDS):
        typer.echo(f"{registry.noun}s\n  {', '.join(registry.names())}")
    typer.echo("'pcbench list SUITE' lists a suite's cases, 'pcbench show CASE' explains one.")


def _line(case: PlannedCase | OutlinedCase) -> str:
    figure = f"  figure {case.figure}" if case.figure else ""
    return f"{case.id}  {case.kind}{figure}"
