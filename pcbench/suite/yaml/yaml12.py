"""Scalars as YAML 1.2 reads and writes them; PyYAML speaks YAML 1.1.

Under 1.1 ``1e-3`` is a string, ``no`` is false, ``010`` is eight, ``1:30`` is ninety and
``2024-01-01`` is a date. None of that is what someone means who writes a suite, so the resolvers
here are those of the core schema of YAML 1.2 (section 10.3.2).
"""

from __future__ import annotations

import json
import math
import re

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # a PyYAML built without libyaml: the same, thirty times slower
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

from pcbench.suite.yaml.problems import clip

Scalar = str | int | float | bool | None

# No number in use is longer, and Python itself refuses to print integers of over 4300 digits.
MAX_NUMBER_LENGTH = 100

_PREFIX = "tag:yaml.org,2002:"
_PLAIN_STRING = re.compile(r"[\w/][\w./+-]*")
# For every type its pattern and the first characters by which PyYAML finds it, integers before
# floats, since every decimal integer is a float as well.
_PATTERNS = {
    "null": (re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    "int": (re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), list("-+0123456789")),
    "float": (
        re.compile(
            r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
            r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
        ),
        list("-+.0123456789"),
    ),
}


class Yaml12Loader(_SafeLoader):
    """PyYAML's safe loader with the core schema of YAML 1.2."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own protocol: a table on the class


for _name, (_pattern, _first) in _PATTERNS.items():
    Yaml12Loader.add_implicit_resolver(_PREFIX + _name, _pattern, _first)


def refusal(tag: str) -> str:
    """Say that a tag is not allowed, naming it as files do: ``!!set``."""
    short = clip(repr(tag.replace(_PREFIX, "!!", 1)))
    return f"the tag {short} is refused: a suite is plain data; remove it"


def read_scalar(tag: str, text: str) -> Scalar:
    """Turn the text of a scalar into a value.

    Raises
    ------
    ValueError
        If the tag is not one of plain data, or the text does not suit it.
    """
    name = tag.removeprefix(_PREFIX)
    if name == "str":
        return text
    if name not in _PATTERNS:
        raise ValueError(refusal(tag))
    pattern, _ = _PATTERNS[name]
    if not pattern.match(text):
        raise ValueError(f"{clip(repr(text))} is not what its tag '!!{name}' says; remove the tag")
    if name == "null":
        return None
    if name == "bool":
        return text.lower() == "true"
    if len(text) > MAX_NUMBER_LENGTH:
        raise ValueError(f"a number has at most {MAX_NUMBER_LENGTH} characters, not {len(text)}")
    if name == "int":
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def write_scalar(value: Scalar) -> str:
    """Write a scalar so that :func:`read_scalar` returns it: a string plain where it can be."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    if not isinstance(value, str):
        return repr(value)
    reads_back = not any(pattern.match(value) for pattern, _ in _PATTERNS.values())
    plain = reads_back and _PLAIN_STRING.fullmatch(value)
    if plain:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
