"""``pcbench validate``: check suites without running them."""

from __future__ import annotations

import typer

from pcbench.cli.options import Selection, Settings, Suites


def validate(
    suites: Suites,
    select: Selection = "",
    settings: Settings = [],  # noqa: B006 - typer copies it
) -> None:
    """Check suites without running them: every mistake, with file, line and column."""
    from pcbench.suite import load_suites

    for suite in load_suites(suites, overrides=settings, select=select or None):
        typer.echo(f"{suite.path}: valid, {len(suite.cases)} cases")
