"""``pcbench validate``: check suites without running them."""

from __future__ import annotations

import typer

from pcbench.cli.options import Selection, Settings, Size, Suites


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
        sizes = f" (sizes {', '.join(suite.sizes)})" if len(suite.sizes) > 1 else ""
        typer.echo(f"{suite.path}: valid, {count} {'case' if count == 1 else 'cases'}{sizes}")
    if select:
        from pcbench.cli.live.display import say_selected

        say_selected(select, loaded)
