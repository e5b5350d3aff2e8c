"""The table of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from pcbench.cli.audit import audit
from pcbench.cli.backends import backends
from pcbench.cli.compare import compare
from pcbench.cli.doctor import doctor
from pcbench.cli.listing import list_suites
from pcbench.cli.run import run
from pcbench.cli.schema import schema
from pcbench.cli.show import show
from pcbench.cli.validate import validate


def register(app: typer.Typer) -> None:
    """Add every command to the application."""
    app.callback()(_root)
    app.command()(run)
    app.command("list")(list_suites)
    app.command()(show)
    app.command()(validate)
    app.command()(compare)
    app.command()(audit)
    app.command()(schema)
    app.command()(backends)
    app.command()(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        from pcbench._version import __version__

        typer.echo(f"pcbench {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass
