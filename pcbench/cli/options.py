"""The program, and the options that several commands have."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pcbench.errors import UsageError

app = typer.Typer(
    name="pcbench",
    help="Does an implementation of predictive coding do what the theory proves?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the help, options stand in three groups.
which = partial(typer.Option, rich_help_panel="Which cases, and with what")
how = partial(typer.Option, rich_help_panel="How they run")
kept = partial(typer.Option, rich_help_panel="What is kept and shown")
quietly = partial(kept, "--quiet", "-q")
verbosely = partial(kept, "--verbose", "-v")

Suites = Annotated[
    list[str], typer.Argument(metavar="SUITE...", help="A YAML file, or a shipped suite's name.")
]
Device = Annotated[str | None, which(help="Such as cpu, cuda, cuda:1, mps.")]
DType = Annotated[str | None, which(help="float32 or float64.")]
Seed = Annotated[int | None, which(help="Seed of all randomness.")]
Selection = Annotated[
    str,
    which(
        "-k",
        metavar="EXPR",
        help=(
            "Only cases whose id, kind, data, suite or tag matches, such as 'mnist1d and not "
            "gradient' or 'figure=5'."
        ),
    ),
]
Tags = Annotated[
    list[str], which("--tag", metavar="TAG", help="Only cases that have one of these tags.")
]
Size = Annotated[
    str,
    which(
        "--size",
        metavar="NAME",
        help="The size of cases, such as full; a case that does not have it runs as written.",
    ),
]
Json = Annotated[
    Path | None, kept("--json", metavar="FILE", help="Write the results as JSON, too.")
]
Settings = Annotated[
    list[str],
    which(
        "--set",
        metavar="PATH=VALUE",
        help="Override a parameter in every case that has it, such as training.steps=10.",
    ),
]
AllowLarge = Annotated[bool, which("--allow-large", help="Allow suites of more than 10,000 cases.")]


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


def overriding(settings: Sequence[str], **options: str | int | None) -> list[str]:
    """Return the settings and, after them, the options that set a parameter of every case."""
    from pcbench.suite import Setting

    chosen = [
        Setting(name, value, f"--{name} {shlex.quote(str(value))}")
        for name, value in options.items()
        if value is not None
    ]
    return [*settings, *chosen]


def tagged(select: str, tags: Sequence[str]) -> str:
    """Return a selection of cases that also have one of the tags."""
    for tag in tags:
        if not re.fullmatch(r"[\w.-]+", tag):
            raise UsageError(f"--tag {shlex.quote(tag)}: a tag is a name without spaces")
    wanted = " or ".join(f"tag={tag}" for tag in tags)
    return f"({select}) and ({wanted})" if select and wanted else select or wanted
