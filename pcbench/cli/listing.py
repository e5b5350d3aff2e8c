"""``pcbench list``: suites that come with pcbench, their cases, and what plug-ins there are."""

from __future__ import annotations

from typing import Annotated

import typer


def list_suites(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE]...", help="List the cases of these.")
    ] = None,
) -> None:
    """List the shipped suites, or the concrete cases of the suites given."""
    from pcbench.suite import find_suite, outline, shipped_suites

    if suites:
        found = [outline(find_suite(name)) for name in suites]  # before anything is printed
        for case in (case for suite in found for case in suite.cases):
            typer.echo(f"{case.id}  {case.kind}")
        return
    from pcbench.registry import BACKENDS, CASES, DATASETS

    typer.echo("suites")
    for name, path in shipped_suites().items():
        suite = outline(path)
        typer.echo(f"  {name}  {len(suite.cases)} cases  {suite.description}")
    for registry in (CASES, DATASETS, BACKENDS):
        typer.echo(f"{registry.noun}s\n  {', '.join(registry.names())}")
    typer.echo("'pcbench list SUITE' lists a suite's cases, 'pcbench show CASE' explains one.")
