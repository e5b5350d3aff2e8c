"""``pcbench run``: run suites, print what was found, write the report."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from pcbench.cli.options import (
    Device,
    DType,
    Json,
    Seed,
    Selection,
    Settings,
    Size,
    Suites,
    overriding,
)


def run(
    suites: Suites,
    size: Size = "quick",
    backend: Annotated[
        str | None,
        typer.Option(help="The backend to check, instead of the one that the suite names."),
    ] = None,
    device: Device = None,
    dtype: DType = None,
    seed: Seed = None,
    select: Selection = "",
    settings: Settings = [],  # noqa: B006 - typer copies it
    json: Json = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only failures and the count.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Print every check, and where an error came from."),
    ] = False,
) -> None:
    """Run suites: check an implementation against the theory, and time it.

    Exit code 0 if all passed, 1 if a check failed, 2 if the suite or an option is not valid, 3 if a
    case errored, 130 if interrupted.
    """
    from pcbench.report import check_writable, write_report

    if json is not None:
        check_writable(json)  # now, not after an hour

    from pcbench.api import run as run_suites
    from pcbench.cli.live.run import watch
    from pcbench.report.console import make_console, render_report
    from pcbench.runner.findings import storable

    with watch(quiet=quiet) as observer:
        report = run_suites(
            *suites,
            size=size,
            select=select or None,
            settings=overriding(settings, backend=backend, device=device, dtype=dtype, seed=seed),
            observer=observer,
        )
    command = storable(shlex.join(["pcbench", *sys.argv[1:]]))
    environment = report.environment.model_copy(update={"command": command})
    report = report.model_copy(update={"environment": environment})
    try:
        if json is not None:
            write_report(report, json)
    finally:  # a disk that filled up meanwhile must not cost both
        render_report(report, make_console(sys.stdout), verbose=verbose, quiet=quiet)
    if verbose:
        for case in report.cases:
            if case.traceback:
                typer.echo(f"\n{case.id}\n{case.traceback}", err=True)
    raise typer.Exit(report.exit_code)
