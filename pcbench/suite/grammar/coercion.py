"""Conversions that pydantic makes without a word, and that a suite should not rely on.

Pydantic takes ``true`` for 1 and ``"64"`` for 64. In a suite either is a slip: the schema refuses
it, and a width of ``true`` means nothing. Otherwise a model may convert what it likes, so only what
came out as the same number is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from pcbench.suite.yaml.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcbench.suite.yaml.node import Node


def coerced(node: Node, value: object, name: str = "") -> Iterator[Problem]:
    """Yield a problem for every number that is not written as one.

    Parameters
    ----------
    node
        What is written.
    value
        What a model made of it.
    name
        What the value is called.
    """
    if isinstance(node.value, dict):
        known = _entries(value)
        for key, child in node.value.items():
            yield from coerced(child, known.get(key), f"{name}.{key}".removeprefix("."))
    elif isinstance(node.value, list) and isinstance(value, list | tuple):
        for index, (child, entry) in enumerate(zip(node.value, value, strict=False)):
            yield from coerced(child, entry, f"{name}[{index}]")
    elif isinstance(value, int | float) and _same_number(node.value, value):
        due = "an integer" if isinstance(value, int) else "a number"
        yield Problem(node.at, f"{name!r} must be {due}, not {node.shown()}")


def _entries(value: object) -> dict[str, object]:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        return {field.alias or name: getattr(value, name) for name, field in fields}
    return value if isinstance(value, dict) else {}


def _same_number(written: object, number: float) -> bool:
    if isinstance(number, bool):
        return False
    if isinstance(written, str):
        try:
            return float(written) == number
        except ValueError:
            return False
    return isinstance(written, bool) and written == number
