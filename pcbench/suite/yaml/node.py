"""A suite's values, each with the place where it is written.

Plain data with positions beside it would have to be kept in step through every merge, axis and
override. Here a value carries its own position, so whatever is moved takes it along.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pcbench.suite.yaml.problems import clip
from pcbench.suite.yaml.yaml12 import Scalar, write_scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pcbench.suite.yaml.problems import Position

Path = tuple[str, ...]


class NoKeysError(Exception):
    """A path leads through a value that has no keys; the message names that value."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a suite. Nodes are shared between cases and never changed.

    Parameters
    ----------
    value
        A scalar, a list of nodes, or a mapping from keys to nodes.
    at
        Where the value stands.
    key_at
        Where its key stands, for the value of a mapping.
    """

    value: Scalar | list[Node] | dict[str, Node]
    at: Position
    key_at: Position | None = None

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
        mapping = self.as_mapping() or {}
        return replace(self, value={key: node for key, node in mapping.items() if keep(key)})

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
        """Return a copy with the value at a path replaced, or added.

        Raises
        ------
        NoKeysError
            If the path leads through something that is neither a mapping nor a string.
        """
        if not path:
            return value
        mapping = self.as_mapping()
        if mapping is None:
            raise NoKeysError(self.shown())
        head, rest = path[0], path[1:]
        child = mapping.get(head, Node({}, value.at, value.key_at))
        return replace(self, value={**mapping, head: child.put(rest, value)})

    def paths(self) -> Iterator[Path]:
        """All paths to values, parents before their children."""
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                yield (key,)
                yield from ((key, *path) for path in node.paths())

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


def split(text: str) -> Path:
    """Split a dotted path; an empty name in it is for the caller to refuse."""
    return tuple(text.split("."))


def dotted(path: Path) -> str:
    """Write a path as one does in a suite."""
    return ".".join(path)


def shown(value: object) -> str:
    """Name a plain value in a message: itself where it is a scalar, else what it is."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value) if isinstance(value, str) else _scalar_or_type(value)
    return clip(text)


def _scalar_or_type(value: object) -> str:
    if value is None or isinstance(value, bool | int | float):
        return write_scalar(value)
    return f"a value of type {type(value).__name__}"
