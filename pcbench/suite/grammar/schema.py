"""The grammar of a suite's layout, and the JSON Schema of a suite file.

The layout stands here once: files are read by it, and editors complete by it. ``title`` is what a
value must be, in the words of messages, ``patternErrorMessage`` the same for pattern and length,
and ``description`` what it is for. ``pcbench list`` reads layouts alone and must not wait for
pydantic; run settings and the parameters of kinds are pydantic models, whose schemas are added when
an editor asks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pcbench import registry
from pcbench.contract.parts import Part

if TYPE_CHECKING:
    from pcbench.suite.yaml.node import Node
    from pcbench.suite.yaml.problems import Problems

Schema = dict[str, Any]
T = TypeVar("T", str, list[Any], dict[str, Any])

DIALECT = "https://json-schema.org/draft/2020-12/schema"
QUICK: Final = "quick"
"""The size of every case as it is written."""
MAX_FIGURE = 20  # characters; it is a column of a table

# Names go into identifiers, -k expressions and file names.
NAME: Schema = {
    "type": "string",
    "title": "a string",
    "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
    "patternErrorMessage": "a name made of a-z, A-Z, 0-9, '_', '-' and '.' that does not begin "
    "with the last two",
}
AXIS: Schema = {"type": "array", "title": "a list of values", "minItems": 1, "uniqueItems": True}
MATRIX: Schema = {
    "type": "object",
    "title": "a mapping from parameters to lists of values",
    "description": "A case for every combination of the values.",
    "minProperties": 1,
    "additionalProperties": AXIS,
}
SIZE: Schema = {
    "type": "object",
    "title": "a mapping from parameters to values",
    "minProperties": 1,
    "properties": {"matrix": {**MATRIX, "description": "Other values of the matrix's axes."}},
}
EXCLUSION: Schema = {
    "type": "object",
    "title": "a mapping from axes to values",
    "minProperties": 1,
}
SEEDS: Schema = {
    "type": "integer",
    "title": "a number of seeds, from 1 to 10,000",
    "description": "A case for each of so many seeds, from its seed on.",
    "minimum": 1,
    "maximum": 10_000,
}
"""``seeds`` of a case whose kind has no parameter of that name for replicas of its own."""
# The keys that identify a case. No axis, default, size or override can set them.
CASE: dict[str, Schema] = {
    "id": {**NAME, "description": "Unique in the suite."},
    "kind": {**NAME, "description": "Which question is asked."},
    "figure": {
        "type": "string",
        "title": 'a string, such as "5" or "9, 10"',
        "description": "The figure of the paper that the case reproduces.",
        "pattern": r"^.*\S.*$",
        "patternErrorMessage": f"1 to {MAX_FIGURE} printable characters",
        "maxLength": MAX_FIGURE,
    },
    "tags": {
        "type": "array",
        "title": "a list of names",
        "description": "By which --tag and -k select the case.",
        "minItems": 1,
        "uniqueItems": True,
        "items": NAME,
    },
    "expect": {
        "type": "object",
        "title": "a mapping such as {fail: the reason why it fails}",
        "description": "That a check fails, and why. If none does, the case has failed.",
        "minProperties": 1,
        "required": ["fail"],
        "additionalProperties": False,
        "properties": {
            "fail": {
                "type": "string",
                "title": "the reason why a check fails",
                "pattern": r"^.*\S.*$",
                "patternErrorMessage": "the reason why a check fails, in a line",
            }
        },
    },
    "matrix": MATRIX,
    "zip": {
        **MATRIX,
        "description": "Parameters that vary together: a case for each place in the lists.",
        "additionalProperties": {**AXIS, "uniqueItems": False},
    },
    "exclude": {
        "type": "array",
        "title": "a list of combinations to leave out, such as [{network.width: 300}]",
        "description": "Combinations of 'matrix' and 'zip' that make no case.",
        "minItems": 1,
        "items": EXCLUSION,
    },
    "sizes": {
        "type": "object",
        "title": "a mapping from names to what they set",
        "description": f"Other values by dotted path; {QUICK!r} is the case as written.",
        "minProperties": 1,
        "propertyNames": {"pattern": NAME["pattern"], "not": {"const": QUICK}},
        "additionalProperties": SIZE,
    },
}
# What identifies a case is the same at every size, but for values of the matrix's axes.
SIZE["propertyNames"] = {"not": {"enum": [key for key in CASE if key != "matrix"]}}
SUITE: dict[str, Schema] = {
    "suite": {**NAME, "description": "The suite's name."},
    "description": {
        "type": "string",
        "title": "a string",
        "description": "What the suite asks, in a line.",
    },
    "covers": {
        "type": "array",
        "title": "a list of at least one part of the contract, such as [loss] (or left out, where "
        "the suite claims nothing in particular)",
        "description": "Parts of the contract that the suite claims to judge; an audit fails if a "
        "fault in one of them passes.",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"enum": [part.value for part in Part]},
    },
    "include": {
        "type": "array",
        "title": "a list of suites: files, seen from this one, or names of shipped suites",
        "description": "Suites whose cases are also this one's, each with its own defaults.",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"type": "string", "title": "a file or a name", "minLength": 1},
    },
    "defaults": {
        "type": "object",
        "title": "a mapping",
        "description": "Run settings and parameters, merged beneath every case.",
    },
    "cases": {"type": "array", "title": "a list of at least one case", "minItems": 1},
}


def read(node: Node, what: str, schema: Schema, kind: type[T], problems: Problems) -> T:
    """Return a value if its type, length and pattern fit; else note it, and return an empty one.

    What it holds is not checked. ``what`` it is called in messages; ``schema`` and ``kind`` both
    say what it must be.
    """
    value, due = node.value, schema["title"]
    given = node.shown()
    if isinstance(value, kind):
        least = max(schema.get(key, 0) for key in ("minLength", "minItems", "minProperties"))
        fits = least <= len(value) <= schema.get("maxLength", len(value))
        pattern = schema.get("pattern")
        # A pattern cannot say that there are no control characters.
        text = str(value) if pattern else ""
        if fits and text.isprintable() and re.fullmatch(pattern or "", text):
            return value
        due = schema.get("patternErrorMessage", due)
        given = given if isinstance(value, str) else "an empty one"
    problems.note(node.at, f"{what} must be {due}, not {given}")
    return kind()


def suite_schema() -> Schema:
    """Return the schema, with the parameters of every case kind that is installed.

    Cases of a kind that cannot be imported are not constrained beyond their run settings.
    """
    settings = _run_settings()
    definitions: Schema = dict(settings["$defs"])
    rules = []
    for kind in registry.CASES.names():
        parameters = _parameters(kind)
        definitions.update(parameters.pop("$defs", {}))
        definitions[kind] = parameters
        named = {"properties": {"kind": {"const": kind}}, "required": ["kind"]}
        rules.append({"if": named, "then": {"$ref": f"#/$defs/{kind}"}})
    common = {**settings["properties"], "seeds": SEEDS}
    common.pop("tolerance_factor")  # which is of single cases
    defaults = {**SUITE["defaults"], "properties": common}
    case = {
        "type": "object",
        "required": ["id", "kind"],
        "properties": {"kind": {"enum": registry.CASES.names()}},
        "allOf": rules,
    }
    return {
        "$schema": DIALECT,
        "title": "pcbench suite",
        "type": "object",
        "required": ["suite"],
        "anyOf": [{"required": ["cases"]}, {"required": ["include"]}],
        "additionalProperties": False,
        "properties": {
            **SUITE,
            "defaults": defaults,
            "cases": {**SUITE["cases"], "items": case},
        },
        "$defs": definitions,
    }


def _run_settings() -> Schema:
    """Return the schema of the run settings, which refers to definitions of its own."""
    from pcbench.suite.grammar.settings import RunSettings  # pydantic

    schema: Schema = RunSettings.model_json_schema()
    return schema


def _parameters(kind: str) -> Schema:
    """Return the schema of a case of one kind, with its definitions under names of its own."""
    from pcbench.suite.grammar.settings import load_kind  # pydantic

    common = {**CASE, **_run_settings()["properties"]}
    try:
        case = load_kind(kind)
        schema = case.Parameters.model_json_schema(ref_template=f"#/$defs/{kind}.{{model}}")
    except Exception:  # a plug-in is foreign code; an editor is better off with the other kinds
        return {"properties": {"seeds": SEEDS, **common}}
    properties, definitions = schema.get("properties", {}), schema.get("$defs", {})
    return {
        "description": case.description,
        "properties": {
            "seeds": SEEDS,
            **{key: _lax(each) for key, each in properties.items()},
            **common,
        },
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
