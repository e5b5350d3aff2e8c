"""Arguments and options that several commands share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

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


def overriding(settings: Sequence[str], **options: str | int | None) -> list[str]:
    """Return the settings and, after them, the options that set a parameter of every case."""
    from pcbench.suite import Setting

    return [
        *settings,
        *(
            Setting(name, value, f"--{name} {shlex.quote(str(value))}")
            for name, value in options.items()
            if value is not None
        ),
    ]
