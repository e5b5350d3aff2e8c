"""``pcbench show``: what a case asks, and with which parameters."""

from __future__ import annotations

from typing import Annotated

import typer

from pcbench.cli.options import Settings, Size


def show(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case's id, or a case kind.")],
    suites: Annotated[
        list[str] | None,
        typer.Option("--suite", metavar="SUITE", help="Where to look, if not in the shipped ones."),
    ] = None,
    size: Size = "quick",
    settings: Settings = [],  # noqa: B006 - typer copies it
) -> None:
    """Show a case's question and resolved parameters, or what a kind accepts."""
    from pcbench.cli.explain import explain_case, explain_kind
    from pcbench.registry import CASES

    if case in CASES.names():
        typer.echo(explain_kind(case))
    else:
        typer.echo(explain_case(case, suites, size, settings))
