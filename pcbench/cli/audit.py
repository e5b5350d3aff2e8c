"""``pcbench audit``: run suites with deliberate mistakes, and print which check catches which."""

from __future__ import annotations

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


def audit(
    suites: Suites,
    size: Size = "quick",
    backend: Annotated[
        str | None,
        typer.Option(help="The correct backend, instead of the one that the suite names."),
    ] = None,
    device: Device = None,
    dtype: DType = None,
    seed: Seed = None,
    select: Selection = "",
    settings: Settings = [],  # noqa: B006 - typer copies it
    faults: Annotated[
        str,
        typer.Option(
            metavar="EXPR",
            help="Only faults whose name or part matches, such as 'precision or loss_hessian'.",
        ),
    ] = "",
    json: Json = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress on standard error.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also name faults that changed no answer.")
    ] = False,
) -> None:
    """Put deliberate mistakes (faults) into a correct backend, and see which check catches which.

    Exit code 0 if every fault in what the suites claim is caught, 1 if one is not, 2 if a suite or
    an option is not valid or the backend does not pass as it is, 130 if interrupted.
    """
    from pcbench.report import check_writable, write_text

    if json is not None:
        check_writable(json)  # now, not after an hour

    from pcbench.api import audit as audit_suites
    from pcbench.audit.console import render_audit
    from pcbench.cli.live.audit import watch
    from pcbench.report.console import make_console

    with watch(quiet=quiet) as observer:
        found = audit_suites(
            *suites,
            size=size,
            select=select or None,
            settings=overriding(settings, backend=backend, device=device, dtype=dtype, seed=seed),
            faults=faults or None,
            observer=observer,
        )
    try:
        if json is not None:
            write_text(found.model_dump_json(indent=2) + "\n", json)
    finally:  # a disk that filled up meanwhile must not cost both
        render_audit(found, make_console(sys.stdout), verbose=verbose)
    raise typer.Exit(found.exit_code)
