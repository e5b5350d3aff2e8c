"""``--set PATH=VALUE``: a parameter of every case that has it, from the command line."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcbench.suite.expand import IDENTITY, Axis
from pcbench.suite.yaml.document import parse
from pcbench.suite.yaml.node import Node, Path, dotted, split
from pcbench.suite.yaml.problems import Position, SuiteError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self


@dataclass(frozen=True, slots=True)
class Override:
    """A parameter's new value; its position is the option itself."""

    path: Path
    value: Node

    def replaces(self, axis: Axis) -> bool:
        """Whether the axis varies what is set here: the parameter, or a part of it."""
        return axis.path[: len(self.path)] == self.path


class Setting(str):
    """``PATH=VALUE`` that was written in other words, which are what messages quote.

    Parameters
    ----------
    path, value
        The parameter, and a value that JSON has.
    written
        What the user wrote, such as ``--seed 3``.
    """

    __slots__ = ("written",)
    written: str

    def __new__(cls, path: str, value: object, written: str) -> Self:
        """Make the text of it."""
        # JSON is YAML, where a name with a colon in it stays a name; but not its surrogate pairs.
        setting = super().__new__(cls, f"{path}={json.dumps(value, ensure_ascii=False)}")
        setting.written = written
        return setting


def parse_override(text: str) -> Override:
    """Read ``PATH=VALUE``; the value is YAML, as in a suite.

    Raises
    ------
    SuiteError
        If there is no ``=``, the path or the value is not valid, or the path cannot be set.
    """
    at = Position(text.written if isinstance(text, Setting) else f"--set {shlex.quote(text)}")
    key, equals, value = text.partition("=")
    path = split(key.strip())
    if not equals or not all(path):
        raise SuiteError.at(at, "write it as PATH=VALUE, such as network.width=300")
    if path[0] in IDENTITY:
        raise SuiteError.at(at, f"{path[0]!r} cannot be set; it says which case it is, not how")
    document = parse(value, lambda _line, _column: at)
    if document.root is None:
        raise SuiteError.at(at, f"there is no value; write {dotted(path)}=null for none")
    if document.problems:
        raise SuiteError(document.problems)
    return Override(path, document.root)


def parse_overrides(texts: Iterable[str]) -> list[Override]:
    """Read all of them, in order; of two with the same path the later holds.

    Raises
    ------
    SuiteError
        With what is wrong with any of them.
    """
    overrides, problems = [], []
    for text in texts:
        try:
            overrides.append(parse_override(text))
        except SuiteError as error:
            problems.extend(error.problems)
    if problems:
        raise SuiteError(problems)
    return overrides
