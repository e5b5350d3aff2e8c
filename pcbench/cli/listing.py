"""``pcbench list``: suites that come with pcbench, their cases, and what plug-ins there are."""

from __future__ import annotations

from typing import Annotated

import typer

from pcbench.cli.options import Size


def list_suites(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE]...", help="List the cases of these.")
    ] = None,
    size: Size = "quick",
) -> None:
    """List the shipped suites, or the concrete cases of the suites given."""
    from pcbench.suite import outlines, shipped_suites

    found = outlines(suites or shipped_suites().values(), size=size)  # before anything is printed
    if suites:
        for case in (case for suite in found for case in suite.cases):
            figure = f"  figure {case.figure}" if case.figure else ""
            typer.echo(f"{case.id}  {case.kind}{figure}")
        return
    from pcbench.registry import BACKENDS, CASES, DATASETS

    typer.echo("suites")
    for name, suite in zip(shipped_suites(), found, strict=True):
        sizes = f" (sizes {', '.join(suite.sizes)})" if len(suite.sizes) > 1 else ""
        typer.echo(f"  {name}  {len(suite.cases)} cases  {suite.description}{sizes}")
    for registry in (CASES, DATASETS, BACKENDS):
        typer.echo(f"{registry.noun}s\n  {', '.join(registry.names())}")
    typer.echo("'pcbench list SUITE' lists a suite's cases, 'pcbench show CASE' explains one.")
