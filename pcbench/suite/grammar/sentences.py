"""Pydantic's errors in plain sentences: what is due, and what was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcbench.suite.yaml.node import shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# What a value must be, by pydantic's type of error; the fields are those of the error's context.
_DUE = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_parsing_size": "a smaller integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a string",
    "string_too_short": "a string of at least {min_length} characters",
    "string_too_long": "a string of at most {max_length} characters",
    "string_pattern_mismatch": "a string that matches {pattern}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "none_required": "null",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "too_short": "of length {min_length} or more",
    "too_long": "of length {max_length} or less",
    "union_tag_invalid": "one of {expected_tags}",
    "due": "{due}",  # a field that says itself what it must be
}


def due(error: ErrorDetails) -> str:
    """Say what the value must be, to follow "must be"; empty where pydantic cannot tell."""
    template = _DUE.get(error["type"], "")
    return template.format_map({key: _number(value) for key, value in _context(error).items()})


def given(error: ErrorDetails) -> str:
    """Say what the value is, to follow "not"."""
    context = _context(error)
    if "actual_length" in context:
        return f"{context['actual_length']}"
    if "tag" in context:
        return repr(context["tag"])
    return shown(error["input"])


def discriminator(error: ErrorDetails) -> str:
    """Return the key by whose value a mapping's type is chosen, for errors about that key."""
    return str(_context(error).get("discriminator", "")).strip("'")


def verbatim(error: ErrorDetails) -> str:
    """Return the error's own message: for a rule that a validator states in its own words."""
    cause = _context(error).get("error")
    return str(cause) if cause else error["msg"]


def _context(error: ErrorDetails) -> dict[str, Any]:
    return error.get("ctx", {})


def _number(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value
