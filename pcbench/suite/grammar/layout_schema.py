"""The layout of a suite file: JSON Schemas that editors get, and that files are read by.

``title`` is what a value must be, in the words of messages; ``description`` is what it is for.
Listing suites reads their layout alone, and may not wait for pydantic; parameters and run settings
are pydantic models.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pcbench.contract.parts import Part

if TYPE_CHECKING:
    from pcbench.suite.yaml.node import Node
    from pcbench.suite.yaml.problems import Problems

Schema = dict[str, Any]

QUICK: Final = "quick"
"""The size of every case as it is written."""
MAX_FIGURE = 20  # characters; it is a column of a table

# Names go into identifiers, -k expressions and file names.
NAME: Schema = {
    "type": "string",
    "title": "a string made of a-z, A-Z, 0-9, '_', '-' and '.' that does not begin with the last "
    "two",
    "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
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
# The keys that identify a case. No axis, default, size or override can set them.
CASE: dict[str, Schema] = {
    "id": {**NAME, "description": "Unique in the suite."},
    "kind": {**NAME, "description": "Which question is asked."},
    "figure": {
        "type": "string",
        "title": f'a string of 1 to {MAX_FIGURE} printable characters, such as "5" or "9, 10"',
        "description": "The figure of the paper that the case reproduces.",
        "pattern": r"^.*\S.*$",
        "maxLength": MAX_FIGURE,
    },
    "matrix": MATRIX,
    "sizes": {
        "type": "object",
        "title": "a mapping from names to what they set",
        "description": f"Other values by dotted path; {QUICK!r} is the case as written.",
        "minProperties": 1,
        "propertyNames": {"pattern": NAME["pattern"], "not": {"const": QUICK}},
        "additionalProperties": SIZE,
    },
}
SUITE: dict[str, Schema] = {
    "suite": {**NAME, "description": "The suite's name."},
    "description": {
        "type": "string",
        "title": "a string",
        "description": "What the suite asks, in a line.",
    },
    "covers": {
        "type": "array",
        "title": "a list of at least one part of the contract, such as [loss]",
        "description": "Parts of the contract that the suite claims to judge; an audit fails if a "
        "fault in one of them passes. Leave it out where the suite claims nothing in particular.",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"enum": [part.value for part in Part]},
    },
    "defaults": {
        "type": "object",
        "title": "a mapping",
        "description": "Run settings and parameters, merged beneath every case.",
    },
    "cases": {"type": "array", "title": "a list of at least one case", "minItems": 1},
}

_TYPES = {"string": str, "array": list, "object": dict}


def read_mapping(node: Node, what: str, schema: Schema, problems: Problems) -> dict[str, Node]:
    """Return the mapping that a value is; one that does not fit is noted, and returned empty.

    Parameters
    ----------
    node
        The value. Its type, its length and its pattern are checked, not the values that it holds.
    what
        What it is called in messages.
    schema
        What it must be.
    problems
        Where to note that it is not.
    """
    fits = _fits(node, what, schema, problems)
    return node.value if fits and isinstance(node.value, dict) else {}


def read_list(node: Node, what: str, schema: Schema, problems: Problems) -> list[Node]:
    """Return the list that a value is, likewise."""
    fits = _fits(node, what, schema, problems)
    return node.value if fits and isinstance(node.value, list) else []


def read_text(node: Node, what: str, schema: Schema, problems: Problems) -> str:
    """Return the string that a value is, likewise."""
    fits = _fits(node, what, schema, problems)
    return node.value if fits and isinstance(node.value, str) else ""


def _fits(node: Node, what: str, schema: Schema, problems: Problems) -> bool:
    value = node.value
    if isinstance(value, str | list | dict) and isinstance(value, _TYPES[schema["type"]]):
        least = max(schema.get(key, 0) for key in ("minLength", "minItems", "minProperties"))
        most = schema.get("maxLength", len(value))
        if least <= len(value) <= most and _matches(value, schema.get("pattern")):
            return True
    given = "an empty one" if value in ([], {}) else node.shown()
    problems.note(node.at, f"{what} must be {schema['title']}, not {given}")
    return False


def _matches(value: object, pattern: str | None) -> bool:
    # A pattern cannot say that there are no control characters.
    return pattern is None or (
        isinstance(value, str) and value.isprintable() and bool(re.fullmatch(pattern, value))
    )
