"""The commands about data, without logic of their own."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pcbench.cli.options import app, quietly

data = typer.Typer(help="Datasets: which are here, fetch others, check their files.")
app.add_typer(data, name="data", no_args_is_help=True)


@data.command("list")
def list_datasets() -> None:
    """List datasets: what they are, and where each is, or how to get it."""
    from pcbench.cli.datasets import render_datasets
    from pcbench.data import Places
    from pcbench.report.text import make_console

    render_datasets(Places.default(), make_console(sys.stdout))


@data.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Datasets, such as mnist.")],
    quiet: Annotated[bool, quietly(help="Show no progress on standard error.")] = False,
) -> None:
    """Fetch datasets from their publishers into the user's cache.

    What is here as published is not fetched again, and what a connection that broke has brought is
    kept. Exit code 2 if a file cannot be had.
    """
    from pcbench.cli.datasets import fetch_datasets
    from pcbench.data import Places

    for place in fetch_datasets(names, Places.default(), quiet=quiet):
        typer.echo(place)


@data.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Datasets; else all.")
    ] = None,
) -> None:
    """Read the files of datasets, and compare them with what was published.

    Exit code 1 if a file is not sound, or a dataset that is named is not here.
    """
    from pcbench.cli.datasets import render_verified
    from pcbench.data import Places
    from pcbench.report.text import make_console

    sound = render_verified(names or [], Places.default(), make_console(sys.stdout))
    raise typer.Exit(0 if sound else 1)
