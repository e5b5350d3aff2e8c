"""``pcbench doctor``: what this machine has, and what is missing."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Show versions, BLAS, threads, devices, and which datasets were found and where."""
    from pcbench.cli.sections.machine import examine

    for line in examine():
        typer.echo(line)
