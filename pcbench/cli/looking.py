"""The commands that look at suites and at this machine, without logic of their own.

Each imports what it needs when it runs, so that ``pcbench --help`` costs what typer costs.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcbench.cli.options import AllowLarge, Selection, Settings, Size, Suites, Tags, app, tagged

if TYPE_CHECKING:
    from pcbench.suite import OutlinedCase, PlannedCase, Suite


@app.command("list")
def list_suites(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE]...", help="Suites whose cases to list.")
    ] = None,
    size: Size = "quick",
    select: Selection = "",
    tags: Tags = [],  # noqa: B006 - typer copies it
    allow_large: AllowLarge = False,
) -> None:
    """List the shipped suites, or the cases of the suites given, or those that -k selects."""
    from pcbench.suite import load_suites, outlines, shipped_suites

    select, named = tagged(select, tags), suites or shipped_suites().values()
    if select:
        chosen = load_suites(named, size=size, select=select, allow_large=allow_large)
        for each in chosen:
            for planned in each.cases:
                typer.echo(f"{_line(planned)}  suite {each.name}")
        _say_selected(select, chosen)
        return
    found = outlines(named, size=size, allow_large=allow_large)  # before anything is printed
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
            metavar="WHAT",
            help="A case's id, a case kind, a choice such as mnist, exact or tanh; or a report.",
        ),
    ],
    of_report: Annotated[
        str, typer.Argument(metavar="[CASE]", help="Which case of the report.", show_default=False)
    ] = "",
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
    """Show what a case asks, what a kind accepts, what a choice means, or what a report says.

    pcbench show REPORT prints a report (JSON) as pcbench run did, and pcbench show REPORT CASE all
    that a case of it found, with the command that runs it again.
    """
    if case.endswith(".json"):
        from pcbench.cli.reports import show_report

        show_report(Path(case), of_report)
        return
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
    tags: Tags = [],  # noqa: B006 - typer copies it
    settings: Settings = [],  # noqa: B006 - typer copies it
    allow_large: AllowLarge = False,
) -> None:
    """Check suites without running them: every mistake, at every size, with line and column."""
    from pcbench.data import Places
    from pcbench.runner.misfits import refuse_misfits
    from pcbench.suite import load_suites

    select = tagged(select, tags)
    loaded = load_suites(
        suites, size=size, overrides=settings, select=select or None, allow_large=allow_large
    )
    refuse_misfits(loaded, Places.default())
    for suite in loaded:
        count = len(suite.cases)
        cases = "1 case" if count == 1 else f"{count} cases"
        typer.echo(f"{suite.path}: valid, {cases}{_sizes(suite.sizes)}")
    if select:
        _say_selected(select, loaded)


@app.command()
def init(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The suite to write, such as my.yaml.")
    ],
) -> None:
    """Write a commented suite to begin with."""
    from pcbench.suite import write_starter

    write_starter(file)
    typer.echo(f"{file} is written; pcbench run {shlex.quote(_as_path(file))} runs it.")


def _as_path(file: Path) -> str:
    """Write a path so that no suite's name is taken for it."""
    return str(file) if file.suffix in (".yaml", ".yml") or len(file.parts) > 1 else f"./{file}"


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


def _sizes(names: Sequence[str]) -> str:
    return f" (sizes {', '.join(names)})" if len(names) > 1 else ""


def _say_selected(expression: str, suites: Sequence[Suite]) -> None:
    """Print what ``-k`` selects of suites."""
    from pcbench.cli.live import say, selection

    selected = sum(len(suite.cases) for suite in suites)
    say(selection(expression, selected, sum(suite.total for suite in suites)))
