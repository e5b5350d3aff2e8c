"""The JSON Schema of a suite file, for completion and squiggles in editors.

It is laxer than loading: a parameter that a kind requires may come from the suite's defaults or
from the matrix, which a schema cannot see, so here none is required.
"""

from __future__ import annotations

from typing import Any

from pcbench import registry
from pcbench.suite.grammar.layout_schema import CASE, SUITE, Schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def suite_schema() -> Schema:
    """Return the schema, with the parameters of every case kind that is installed.

    Cases of a kind that cannot be imported are not constrained beyond their run settings.
    """
    definitions: Schema = {}
    rules = []
    for kind in registry.CASES.names():
        parameters = _parameters(kind)
        definitions.update(parameters.pop("$defs", {}))
        definitions[kind] = parameters
        rules.append(
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{kind}"},
            }
        )
    defaults = {**SUITE["defaults"], "properties": _run_settings()}
    return {
        "$schema": DIALECT,
        "title": "pcbench suite",
        "type": "object",
        "required": ["suite", "cases"],
        "additionalProperties": False,
        "properties": {
            **SUITE,
            "defaults": defaults,
            "cases": {**SUITE["cases"], "items": _case(rules)},
        },
        "$defs": definitions,
    }


def _case(rules: list[Schema]) -> Schema:
    return {
        "type": "object",
        "required": ["id", "kind"],
        "properties": {"kind": {"enum": registry.CASES.names()}},
        "allOf": rules,
    }


def _common() -> dict[str, Schema]:
    """Return the properties that a case of any kind has."""
    return {**CASE, **_run_settings()}


def _run_settings() -> Schema:
    from pcbench.suite.grammar.settings import RunSettings  # pydantic

    properties: Schema = RunSettings.model_json_schema()["properties"]
    return properties


def _parameters(kind: str) -> Schema:
    """Return the schema of a case of one kind, with its definitions under names of its own."""
    from pcbench.suite.kinds import load_kind  # pydantic

    try:
        case = load_kind(kind)
        schema = case.Parameters.model_json_schema(ref_template=f"#/$defs/{kind}.{{model}}")
    except Exception:  # a plug-in is foreign code; an editor is better off with the other kinds
        return {"properties": _common()}
    properties, definitions = schema.get("properties", {}), schema.get("$defs", {})
    return {
        "description": case.description,
        "properties": {**{key: _lax(each) for key, each in properties.items()}, **_common()},
        "additionalProperties": False,
        "$defs": {f"{kind}.{name}": _lax(each) for name, each in definitions.items()},
    }


def _lax(schema: Any) -> Any:
    """Drop what a schema requires, and let a string stand for a mapping with a name."""
    if isinstance(schema, list):
        return [_lax(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    lax = {
        # Where nothing is required the members of a union are no longer exclusive.
        "anyOf" if key == "oneOf" else key: _lax(value)
        for key, value in schema.items()
        if not (key == "required" and isinstance(value, list))
    }
    named = "name" in lax.get("properties", {})
    return {"anyOf": [{"type": "string"}, lax]} if named else lax
