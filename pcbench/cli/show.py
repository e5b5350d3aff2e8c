"""``pcbench show``: what a case asks, and with which parameters."""

from __future__ import annotations

from typing import Annotated

import typer

from pcbench.cli.options import Settings, Size


def show(
    case: Annotated[
        str,
        typer.Argument(
            metavar="CASE", help="A case's id, a case kind, or a choice: mnist, exact, tanh."
        ),
    ],
    suites: Annotated[
        list[str] | None,
        typer.Option(
            "--suite",
            metavar="SUITE",
            help="The suite in which to look, instead of the shipped ones.",
        ),
    ] = None,
    size: Size = "quick",
    settings: Settings = [],  # noqa: B006 - typer copies it
) -> None:
    """Show what a case asks and its parameters, what a kind accepts, or what a choice means."""
    from pcbench.cli.sections.kinds import explain_case, explain_choice, explain_kind
    from pcbench.errors import UsageError
    from pcbench.registry import CASES

    if case in CASES.names():
        typer.echo(explain_kind(case))
        return
    choice = "" if suites else explain_choice(case)
    if choice:
        typer.echo(choice)
    try:  # a case may have the name of a choice
        found = explain_case(case, suites, size, settings)
    except UsageError:
        if not choice:
            raise
    else:
        typer.echo(f"\n{found}" if choice else found)
