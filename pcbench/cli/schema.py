"""``pcbench schema``: the JSON schemas of what pcbench reads and writes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Document(StrEnum):
    """What has a schema."""

    suite = "suite"
    report = "report"
    audit = "audit"


def schema(
    document: Annotated[Document, typer.Argument(help="The document whose schema to print.")],
) -> None:
    """Print the JSON schema of a suite (for editors), of a report or an audit (for scripts)."""
    import json

    from pcbench.audit import audit_schema
    from pcbench.report import report_schema
    from pcbench.suite import suite_schema

    schemas = {
        Document.suite: suite_schema,
        Document.report: report_schema,
        Document.audit: audit_schema,
    }
    typer.echo(json.dumps(schemas[document](), indent=2))  # in ASCII, which every pipe can carry
