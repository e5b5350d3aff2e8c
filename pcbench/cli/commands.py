"""The commands that compute or compare, without logic of their own.

Each imports what it needs when it runs, so that ``pcbench --help`` costs what typer costs.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from subprocess import Popen
from typing import Annotated

import typer

from pcbench.cli.options import (
    AllowLarge,
    Device,
    DType,
    Json,
    Seed,
    Selection,
    Settings,
    Size,
    Suites,
    Tags,
    app,
    how,
    kept,
    overriding,
    quietly,
    tagged,
    verbosely,
    which,
)


class Place(StrEnum):
    """Where cases are computed."""

    workers = "workers"
    dask = "dask"


@app.command()
def run(
    suites: Suites,
    size: Size = "quick",
    backend: Annotated[
        str | None,
        which(help="The backend to check, instead of the one that the suite names."),
    ] = None,
    device: Device = None,
    dtype: DType = None,
    seed: Seed = None,
    select: Selection = "",
    tags: Tags = [],  # noqa: B006 - typer copies it
    settings: Settings = [],  # noqa: B006 - typer copies it
    allow_large: AllowLarge = False,
    jobs: Annotated[
        str,
        how("--jobs", "-j", metavar="N", help="Cases at a time; auto: as many as fit."),
    ] = "1",
    threads: Annotated[
        int, how(min=1, help="Threads of a case. Last bits of numbers depend on it.")
    ] = 1,
    timeout: Annotated[
        float | None,
        how(metavar="S", help="Stop a case after S seconds, unless it has its own limit."),
    ] = None,
    executor: Annotated[
        Place, how(help="Worker processes of this machine, or dask (see --scheduler).")
    ] = Place.workers,
    scheduler: Annotated[
        str,
        how(metavar="ADDRESS", help="Of a dask scheduler; else a local cluster."),
    ] = "",
    in_process: Annotated[
        bool, how("--in-process", help="Run cases here, without worker processes.")
    ] = False,
    pdb: Annotated[
        bool, how("--pdb", help="Open the debugger where a case breaks; --in-process.")
    ] = False,
    shard: Annotated[
        str, how(metavar="I/N", help="Run a part of the cases; see pcbench merge.")
    ] = "1/1",
    json: Json = None,
    journal: Annotated[
        Path | None,
        kept(metavar="FILE", help="Keep each result at once; else beside --json."),
    ] = None,
    resume: Annotated[
        bool, kept("--resume", help="Go on with the journal of a run that was cut off.")
    ] = False,
    strict_skips: Annotated[
        bool, kept("--strict-skips", help="Make an error of a case that is skipped.")
    ] = False,
    quiet: Annotated[bool, quietly(help="Print only failures and the count.")] = False,
    verbose: Annotated[
        bool, verbosely(help="Print every check, and where an error came from.")
    ] = False,
) -> None:
    """Run suites: check an implementation against the theory, and time it.

    Exit code 0 if all passed, 1 if a check failed, 2 if the suite or an option is not valid, 3 if a
    case errored or took too long, 4 if nothing was judged; 130, 143 or 129 if it was ended by
    Ctrl-C, SIGTERM or SIGHUP.
    """
    from pcbench.launch import launched
    from pcbench.suite import likely_backends

    settings = overriding(settings, backend=backend, device=device, dtype=dtype, seed=seed)
    in_process, dask = in_process or pdb, executor is Place.dask
    first: AbstractContextManager[Popen[bytes] | None] = nullcontext()
    if not (in_process or dask) and (backends := likely_backends(suites, settings)):
        first = launched(threads, backends)
    with first as process:  # it gets ready while this one imports and plans
        from pcbench.cli.running import RunCommand

        command = RunCommand(
            json=json,
            journal=journal,
            resume=resume,
            jobs=jobs,
            threads=threads,
            timeout=timeout,
            shard=shard,
            dask=dask,
            scheduler=scheduler,
            in_process=in_process,
            debug=pdb,
            first=process,
        )
        report = command.run(
            suites,
            quiet=quiet,
            size=size,
            select=tagged(select, tags) or None,
            settings=settings,
            allow_large=allow_large,
            strict_skips=strict_skips,
        )
    command.finish(report, quiet=quiet, verbose=verbose)
    raise typer.Exit(report.exit_code)


@app.command()
def merge(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help="Reports of all shards of a run.")
    ],
    json: Annotated[Path, typer.Option("--json", metavar="FILE", help="Where to write the whole.")],
    quiet: Annotated[bool, quietly(help="Print only failures and the count.")] = False,
) -> None:
    """Join the reports of shards (pcbench run --shard) into that of the whole run.

    Exit code as of that run; 2 if they are not all shards of one run.
    """
    from pcbench.report import check_writable, merge_reports, read_report, write_report
    from pcbench.report.console import make_console, render_report

    check_writable(json)
    report = merge_reports({str(path): read_report(path) for path in reports})
    write_report(report, json)
    render_report(report, make_console(sys.stdout), quiet=quiet)
    raise typer.Exit(report.exit_code)


@app.command()
def compare(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="The report to compare with.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The report to judge.")],
    json: Json = None,
    quiet: Annotated[bool, quietly(help="Print only what got worse.")] = False,
) -> None:
    """Compare two JSON reports.

    Exit code 0 if nothing got worse, 1 if anything did, 2 if a report cannot be read, 4 if nothing
    was compared: the reports share no case, or no check that is decided in both.
    """
    from pcbench.compare import compare as compare_reports
    from pcbench.compare.console import render_comparison
    from pcbench.report import check_writable, read_report, write_text
    from pcbench.report.console import make_console

    if json is not None:
        check_writable(json)
    comparison = compare_reports(read_report(base), read_report(new))
    if json is not None:
        write_text(comparison.model_dump_json(indent=2) + "\n", json)
    render_comparison(comparison, make_console(sys.stdout), quiet=quiet)
    raise typer.Exit(comparison.exit_code)


@app.command()
def report(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help="Reports (JSON) of pcbench run.")
    ],
    html: Annotated[Path, typer.Option("--html", metavar="FILE", help="The page to write.")],
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="REPORT", help="An earlier report, with which the last is compared."),
    ] = None,
) -> None:
    """Write reports as one page, to read in a browser or to send to somebody.

    It needs no network, and no script for reading.
    """
    from pcbench.compare import compare as compare_reports
    from pcbench.report import check_writable, read_report, write_text
    from pcbench.report.page import render_page

    check_writable(html)
    found = [read_report(path) for path in reports]
    changes = compare_reports(read_report(baseline), found[-1]) if baseline else None
    write_text(render_page(found, changes), html)
    typer.echo(html)


class Drawing(StrEnum):
    """Formats of figures."""

    svg = "svg"
    png = "png"
    pdf = "pdf"


@app.command()
def plot(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A report (JSON) of a run.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where figures go.")] = Path(
        "figures"
    ),
    format: Annotated[Drawing, typer.Option(help="The format of the files.")] = Drawing.svg,
) -> None:
    """Draw the figures of a report: energies, spectra, landscapes, training, completion."""
    from pcbench.figures import draw_report
    from pcbench.report import read_report

    for path in draw_report(read_report(report), out, format.value):
        typer.echo(path)


@app.command()
def audit(
    suites: Suites,
    size: Size = "quick",
    backend: Annotated[
        str | None,
        which(help="The correct backend, instead of the one that the suite names."),
    ] = None,
    device: Device = None,
    dtype: DType = None,
    seed: Seed = None,
    select: Selection = "",
    settings: Settings = [],  # noqa: B006 - typer copies it
    faults: Annotated[
        str,
        which(
            metavar="EXPR",
            help="Only faults whose name or part matches, such as 'precision or loss_hessian'.",
        ),
    ] = "",
    json: Json = None,
    quiet: Annotated[bool, quietly(help="Show no progress on standard error.")] = False,
    verbose: Annotated[bool, verbosely(help="Also name faults that changed no answer.")] = False,
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
    from pcbench.cli.live import watch_audit
    from pcbench.report.console import make_console

    with watch_audit(quiet=quiet) as observer:
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
