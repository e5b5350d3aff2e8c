"""A suite's values, each with the place where it is written, and scalars as YAML 1.2 has them.

Plain data with positions beside it would have to be kept in step through every merge, axis and
override. Here a value carries its own position, so whatever is moved takes it along.

PyYAML speaks YAML 1.1, under which ``1e-3`` is a string, ``no`` is false, ``010`` is eight,
``1:30`` is ninety and ``2024-01-01`` is a date. None of that is what someone means who writes a
suite, so the resolvers here are those of the core schema of YAML 1.2 (section 10.3.2).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pcbench.suite.yaml.problems import clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pcbench.suite.yaml.problems import Position


try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # a PyYAML built without libyaml: the same, thirty times slower
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]


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
    """Turn the text of a scalar into a value."""
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
    other = any(pattern.match(value) for pattern, _ in _PATTERNS.values())
    if _PLAIN_STRING.fullmatch(value) and not other:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


Path = tuple[str, ...]
"""The keys that lead to a value; a suite joins them by dots."""


class NoKeysError(Exception):
    """A path leads through a value that has no keys; the message names that value."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a suite. Nodes are shared between cases and never changed."""

    # A scalar, a list of nodes, or a mapping from keys to nodes.
    value: Scalar | list[Node] | dict[str, Node]
    at: Position
    key_at: Position | None = None  # where its key stands, for the value of a mapping

    @property
    def name_at(self) -> Position:
        """Where its key stands, or the value itself where it has none."""
        return self.key_at or self.at

    def plain(self) -> Any:
        """Return the value as plain Python data."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def as_mapping(self) -> dict[str, Node] | None:
        """Return the mapping that this is, or stands for, or ``None``.

        A string stands for its name: ``data: mnist1d`` is short for ``data: {name: mnist1d}``.
        """
        if isinstance(self.value, dict):
            return self.value
        return {"name": self} if isinstance(self.value, str) else None

    def restricted(self, keep: Callable[[str], bool]) -> Node:
        """Return the mapping with only some of its keys."""
        kept = {key: node for key, node in (self.as_mapping() or {}).items() if keep(key)}
        return replace(self, value=kept)

    def get(self, key: str) -> Node | None:
        """Return the value of a key, if this is, or stands for, a mapping that has it."""
        return (self.as_mapping() or {}).get(key)

    def over(self, beneath: Node) -> Node:
        """Return this value with what it leaves open taken from the one beneath, deeply.

        Only mappings leave anything open. A string counts as one beside a mapping, as in
        :meth:`as_mapping`.
        """
        if not (isinstance(self.value, dict) or isinstance(beneath.value, dict)):
            return self
        upper, lower = self.as_mapping(), beneath.as_mapping()
        if upper is None or lower is None:
            return self
        merged = dict(lower)
        for key, node in upper.items():
            merged[key] = node.over(lower[key]) if key in lower else node
        return replace(self, value=merged)

    def put(self, path: Path, value: Node) -> Node:
        """Return a copy with the value at a path replaced, or added."""
        if not path:
            return value
        mapping = self.as_mapping()
        if mapping is None:
            raise NoKeysError(self.shown())
        head, rest = path[0], path[1:]
        child = mapping.get(head, Node({}, value.at, value.key_at))
        return replace(self, value={**mapping, head: child.put(rest, value)})

    def entries(self) -> Iterator[tuple[Path, Node]]:
        """All values of mappings, with the paths to them, parents before their children."""
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                yield (key,), node
                yield from (((key, *path), inner) for path, inner in node.entries())

    def label(self) -> str:
        """Write the value short, for an identifier: a list ``5x5``, a mapping ``k:v+k:v``."""
        if isinstance(self.value, dict):
            pairs = (f"{write_scalar(key)}:{node.label()}" for key, node in self.value.items())
            return "+".join(pairs) or "{}"
        if isinstance(self.value, list):
            return "x".join(node.label() for node in self.value) or "[]"
        return write_scalar(self.value)

    def shown(self) -> str:
        """Name the value in a message."""
        return shown(self.plain())


def shown(value: object) -> str:
    """Name a plain value in a message: itself where it is a scalar, else what it is."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        return clip(repr(value))
    if value is None or isinstance(value, bool | int | float):
        return clip(write_scalar(value))
    return clip(f"a value of type {type(value).__name__}")
