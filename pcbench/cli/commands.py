"""The commands, without logic of their own.

Each imports what it needs when it runs, so that ``pcbench --help`` costs what typer costs.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pcbench.suite import OutlinedCase, PlannedCase, Suite

app = typer.Typer(
    name="pcbench",
    help="Does an implementation of predictive coding do what the theory proves?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Suites = Annotated[
    list[str], typer.Argument(metavar="SUITE...", help="A YAML file, or a shipped suite's name.")
]
Device = Annotated[str | None, typer.Option(help="Such as cpu, cuda, cuda:1, mps.")]
DType = Annotated[str | None, typer.Option(help="float32 or float64.")]
Seed = Annotated[int | None, typer.Option(help="Seed of all randomness.")]
Selection = Annotated[
    str,
    typer.Option(
        "-k",
        metavar="EXPR",
        help=(
            "Only cases whose id, kind, data or suite matches, such as 'mnist1d and not gradient' "
            "or 'figure=5'."
        ),
    ),
]
Size = Annotated[
    str,
    typer.Option(
        "--size",
        metavar="NAME",
        help="The size of cases, such as full; those without it, and all for quick, are as "
        "written.",
    ),
]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON, too.")
]
Settings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Override a parameter in every case that has it, such as training.steps=10.",
    ),
]


_quiet = partial(typer.Option, "--quiet", "-q")
_verbose = partial(typer.Option, "--verbose", "-v")


def _print_version(wanted: bool) -> None:
    if wanted:
        from pcbench._version import __version__

        typer.echo(f"pcbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
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
    jobs: Annotated[
        str,
        typer.Option("--jobs", "-j", metavar="N", help="Cases at a time; auto: as many as fit."),
    ] = "1",
    threads: Annotated[
        int, typer.Option(min=1, help="Threads of a case. Last bits of numbers depend on it.")
    ] = 1,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds for a case that has no timeout of its own."),
    ] = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Run cases here, without worker processes.")
    ] = False,
    pdb: Annotated[
        bool, typer.Option("--pdb", help="Open the debugger where a case breaks; --in-process.")
    ] = False,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Run a part of the cases; see pcbench merge.")
    ] = "1/1",
    json: Json = None,
    journal: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep results here at once; with --json FILE.journal."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the journal of a run that was cut off.")
    ] = False,
    strict_skips: Annotated[
        bool, typer.Option("--strict-skips", help="Make an error of a case that is skipped.")
    ] = False,
    quiet: Annotated[bool, _quiet(help="Print only failures and the count.")] = False,
    verbose: Annotated[
        bool, _verbose(help="Print every check, and where an error came from.")
    ] = False,
) -> None:
    """Run suites: check an implementation against the theory, and time it.

    Exit code 0 if all passed, 1 if a check failed, 2 if the suite or an option is not valid, 3 if a
    case errored or took too long, 4 if nothing was judged; 130, 143 or 129 if it was ended by
    Ctrl-C, SIGTERM or SIGHUP.
    """
    from pcbench.cli.running import RunCommand

    command = RunCommand(
        json=json,
        journal=journal,
        resume=resume,
        jobs=jobs,
        threads=threads,
        timeout=timeout,
        shard=shard,
        in_process=in_process or pdb,
        debug=pdb,
    )
    report = command.run(
        suites,
        quiet=quiet,
        size=size,
        select=select or None,
        settings=_overriding(settings, backend=backend, device=device, dtype=dtype, seed=seed),
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
    quiet: Annotated[bool, _quiet(help="Print only failures and the count.")] = False,
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


@app.command("list")
def list_suites(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE]...", help="Suites whose cases to list.")
    ] = None,
    size: Size = "quick",
    select: Selection = "",
) -> None:
    """List the shipped suites, or the cases of the suites given, or those that -k selects."""
    from pcbench.suite import load_suites, outlines, shipped_suites

    if select:
        chosen = load_suites(suites or shipped_suites().values(), size=size, select=select)
        for each in chosen:
            for planned in each.cases:
                typer.echo(f"{_line(planned)}  suite {each.name}")
        _say_selected(select, chosen)
        return
    found = outlines(suites or shipped_suites().values(), size=size)  # before anything is printed
    if suites:
        for case in (case for suite in found for case in suite.cases):
            typer.echo(_line(case))
        return
    from pcbench.registry import BACKENDS, CASES, DATASETS

    typer.echo("suites")
    for name, suite in zip(shipped_suites(), found, strict=True):
        typer.echo(f"  {name}  {len(suite.cases)} cases  {suite.description}{_sizes(suite.sizes)}")
    for registry in (CASES, DATASETS, BACKENDS):
        typer.echo(f"{registry.noun}s\n  {', '.join(registry.names())}")
    typer.echo("'pcbench list SUITE' lists a suite's cases, 'pcbench show CASE' explains one.")


def _line(case: PlannedCase | OutlinedCase) -> str:
    figure = f"  figure {case.figure}" if case.figure else ""
    return f"{case.id}  {case.kind}{figure}"


@app.command()
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
    from pcbench.cli.explain import explain_case, explain_choice, explain_kind
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


@app.command()
def validate(
    suites: Suites,
    size: Size = "quick",
    select: Selection = "",
    settings: Settings = [],  # noqa: B006 - typer copies it
) -> None:
    """Check suites without running them: every mistake, at every size, with line and column."""
    from pcbench.suite import load_suites

    loaded = load_suites(suites, size=size, overrides=settings, select=select or None)
    for suite in loaded:
        count = len(suite.cases)
        cases = "1 case" if count == 1 else f"{count} cases"
        typer.echo(f"{suite.path}: valid, {cases}{_sizes(suite.sizes)}")
    if select:
        _say_selected(select, loaded)


@app.command()
def compare(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="The report to compare with.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The report to judge.")],
    json: Json = None,
    quiet: Annotated[bool, _quiet(help="Print only what got worse.")] = False,
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
    quiet: Annotated[bool, _quiet(help="Show no progress on standard error.")] = False,
    verbose: Annotated[bool, _verbose(help="Also name faults that changed no answer.")] = False,
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
            settings=_overriding(settings, backend=backend, device=device, dtype=dtype, seed=seed),
            faults=faults or None,
            observer=observer,
        )
    try:
        if json is not None:
            write_text(found.model_dump_json(indent=2) + "\n", json)
    finally:  # a disk that filled up meanwhile must not cost both
        render_audit(found, make_console(sys.stdout), verbose=verbose)
    raise typer.Exit(found.exit_code)


class Document(StrEnum):
    """What has a schema."""

    suite = "suite"
    report = "report"
    audit = "audit"


@app.command()
def schema(
    document: Annotated[Document, typer.Argument(help="The document whose schema to print.")],
) -> None:
    """Print the JSON schema of a suite (for editors), of a report or an audit (for scripts)."""
    import json

    from pcbench.audit import audit_schema
    from pcbench.report import report_schema
    from pcbench.suite import suite_schema

    schemas = {"suite": suite_schema, "report": report_schema, "audit": audit_schema}
    typer.echo(json.dumps(schemas[document](), indent=2))  # in ASCII, which every pipe can carry


@app.command()
def backends() -> None:
    """List the backends: versions, devices, capabilities, or why one cannot be used."""
    from pcbench.cli.machine import render_backends
    from pcbench.report.text import make_console
    from pcbench.runner.environment import survey_backends

    render_backends(list(survey_backends()), make_console(sys.stdout))


@app.command()
def doctor() -> None:
    """Show versions, BLAS, threads, devices, and which datasets were found and where."""
    from pcbench.cli.machine import examine

    for line in examine():
        typer.echo(line)


def _overriding(settings: Sequence[str], **options: str | int | None) -> list[str]:
    """Return the settings and, after them, the options that set a parameter of every case."""
    from pcbench.suite import Setting

    chosen = [
        Setting(name, value, f"--{name} {shlex.quote(str(value))}")
        for name, value in options.items()
        if value is not None
    ]
    return [*settings, *chosen]


def _sizes(names: Sequence[str]) -> str:
    return f" (sizes {', '.join(names)})" if len(names) > 1 else ""


def _say_selected(expression: str, suites: Sequence[Suite]) -> None:
    """Print what ``-k`` selects of suites."""
    from pcbench.cli.live import say, selection

    selected = sum(len(suite.cases) for suite in suites)
    say(selection(expression, selected, sum(suite.total for suite in suites)))
