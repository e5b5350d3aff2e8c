"""``pcbench schema``: the JSON schemas of what pcbench reads and writes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Document(StrEnum):
    """What has a schema."""

    suite = "suite"
    report = "report"


def schema(
    document: Annotated[Document, typer.Argument(help="Which document's schema.")],
) -> None:
    """Print the JSON schema of a suite file (for editors) or of a report (for scripts)."""
    import json

    from pcbench.report import report_schema
    from pcbench.suite import suite_schema

    found = suite_schema() if document is Document.suite else report_schema()
    typer.echo(json.dumps(found, indent=2))  # in ASCII, which every pipe can carry
