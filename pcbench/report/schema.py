"""The JSON Schema of the report: the contract with the scripts that read it."""

from __future__ import annotations

from typing import Any

from pcbench.report.model import SCHEMA_VERSION, Report


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) that every report this version writes satisfies."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:pcbench:report:{SCHEMA_VERSION}",
        **Report.model_json_schema(mode="serialization"),
        "title": "pcbench report",
    }
