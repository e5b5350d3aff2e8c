"""The layout of a suite file: what can be said of it without importing any case kind.

This is all that ``pcbench list`` needs, so nothing heavy is imported here or beneath.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pcbench.contract.parts import Part
from pcbench.registry import did_you_mean
from pcbench.suite.expand import IDENTITY, NAME_PATTERN, Axis, count, put_all, read_axes
from pcbench.suite.grammar.sizes import QUICK, Size, read_sizes
from pcbench.suite.yaml.document import read_document
from pcbench.suite.yaml.node import Node
from pcbench.suite.yaml.problems import Position, Problem, Problems, SuiteError

if TYPE_CHECKING:
    import pathlib

SUITE_KEYS = ("suite", "description", "covers", "defaults", "cases")
MAX_CASES = 10_000  # at all sizes together
MAX_FIGURE = 20  # characters; it is a column of a table


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """A case as written, before its matrix is expanded.

    Parameters
    ----------
    id, kind
        Empty where missing or not valid; the problem is noted.
    id_at, kind_at
        Where they stand.
    figure
        Which figure of the paper it reproduces; empty if none.
    tree
        Run settings and parameters: the case without what says which case it is.
    axes
        The matrix; empty where there is none.
    sizes
        What the case says at other sizes than that at which it is written.
    """

    id: str
    kind: str
    id_at: Position
    kind_at: Position
    figure: str
    tree: Node
    axes: tuple[Axis, ...]
    sizes: dict[str, Size]

    @property
    def all_sizes(self) -> tuple[str, ...]:
        """Its sizes, that at which it is written first."""
        return (QUICK, *self.sizes)

    def size(self, wanted: str) -> str:
        """Return the size at which the case runs where a size is wanted."""
        return wanted if wanted in self.sizes else QUICK

    def axes_at(self, size: str) -> tuple[Axis, ...]:
        """Return the matrix at a size."""
        return self.sizes[size].axes if size in self.sizes else self.axes

    def at(self, size: str, problems: Problems) -> CaseEntry:
        """Return the case at a size; a value that cannot be put in is noted."""
        if size not in self.sizes:
            return self
        values = self.sizes[size].values
        tree = put_all(self.tree, values, f"in the size {size!r},", problems)
        return replace(self, tree=tree, axes=self.axes_at(size))


@dataclass(frozen=True, slots=True)
class Layout:
    """A suite as written.

    Parameters
    ----------
    path
        The file.
    name, description
        What the suite says of itself.
    covers
        The parts of the contract that it claims to judge; ``None`` where it does not say.
    defaults
        A mapping, merged beneath every case.
    cases
        In the order written.
    problems
        What is wrong so far. A layout with problems serves only to find more of them.
    """

    path: pathlib.Path
    name: str
    description: str
    covers: tuple[Part, ...] | None
    defaults: Node
    cases: list[CaseEntry]
    problems: Problems

    @property
    def sizes(self) -> tuple[str, ...]:
        """The sizes that its cases have, the one at which they are written first."""
        return tuple(dict.fromkeys(size for case in self.cases for size in case.all_sizes))


def read_layout(path: pathlib.Path) -> Layout:
    """Read a suite file.

    Raises
    ------
    SuiteError
        If the file cannot be read at all, is not a mapping, or makes too many cases.
    """
    document = read_document(path)
    root, problems = document.root, document.problems
    assert root is not None  # for the type checker: read_document refuses an empty file
    if not isinstance(root.value, dict):
        raise SuiteError.at(
            root.at, f"a suite is a mapping with 'suite' and 'cases', not {root.shown()}"
        )
    written = root.value
    for key, node in written.items():
        if key not in SUITE_KEYS:
            problems.note(node.name_at, f"unknown key {key!r}{did_you_mean(key, SUITE_KEYS)}")
    return Layout(
        path=path,
        name=_name(root, "suite", "the suite", problems),
        description=_text(written.get("description"), "'description' must be a string", problems),
        covers=_covers(written.get("covers"), problems),
        defaults=_defaults(written.get("defaults", Node({}, root.at)), problems),
        cases=_cases(root, problems),
        problems=problems,
    )


def _text(node: Node | None, due: str, problems: Problems) -> str:
    """Read a string; anything else is noted, and empty."""
    if node is None or isinstance(node.value, str):
        return str(node.value) if node else ""
    problems.note(node.at, f"{due}, not {node.shown()}")
    return ""


def _required(owner: Node, key: str, what: str, problems: Problems) -> Node | None:
    node = (owner.as_mapping() or {}).get(key)
    if node is None:
        problems.note(owner.at, f"{what} lacks {key!r}")
    return node


def _name(owner: Node, key: str, what: str, problems: Problems) -> str:
    node = _required(owner, key, what, problems)
    name = _text(node, f"{key!r} must be a string", problems)
    if node and node.value == name and not re.fullmatch(NAME_PATTERN, name):
        message = (
            f"{key!r} must be made of a-z, A-Z, 0-9, '_', '-' and '.', and not begin with "
            f"the last two; {node.shown()} is not"
        )
        problems.note(node.at, message)
        return ""
    return name


def _covers(node: Node | None, problems: Problems) -> tuple[Part, ...] | None:
    if node is None:
        return None
    due = (
        "'covers' must be a list of at least one part of the contract, such as [loss] (leave it "
        "out where the suite claims nothing in particular)"
    )
    found: list[Part] = []
    for entry in node.items(due, problems):
        if not isinstance(entry.value, str) or entry.value not in list(Part):
            hint = did_you_mean(entry.value, Part) if isinstance(entry.value, str) else ""
            message = f"'covers' must name parts of the contract; {entry.shown()} is none{hint}"
            problems.note(entry.at, message)
        elif (part := Part(entry.value)) in found:
            problems.note(entry.at, f"'covers' names {part.value!r} twice; once is enough")
        else:
            found.append(part)
    return tuple(found)


def _defaults(node: Node, problems: Problems) -> Node:
    if not isinstance(node.value, dict):
        problems.note(node.at, f"'defaults' must be a mapping, not {node.shown()}")
        return Node({}, node.at)
    for key in IDENTITY:
        if key in node.value:
            message = f"{key!r} belongs to a single case; move it from 'defaults' to the case"
            problems.note(node.value[key].name_at, message)
    return node


def _cases(root: Node, problems: Problems) -> list[CaseEntry]:
    node = _required(root, "cases", "the suite", problems)
    entries: list[CaseEntry] = []
    first: dict[str, Position] = {}
    total = 0
    due = "'cases' must be a list of at least one case"
    for case in node.items(due, problems) if node else ():
        entry = _entry(case, problems)
        total += sum(count(entry.axes_at(size)) for size in entry.all_sizes)
        if total > MAX_CASES:
            message = f"with this case the suite makes over {MAX_CASES:,} cases; split it"
            raise SuiteError([*problems, Problem(case.at, message)])
        if first.setdefault(entry.id, entry.id_at) is not entry.id_at and entry.id:
            message = f"the id {entry.id!r} is taken at {first[entry.id]}; choose another"
            problems.note(entry.id_at, message)
        entries.append(entry)
    return entries


def _entry(case: Node, problems: Problems) -> CaseEntry:
    if not isinstance(case.value, dict):
        problems.note(case.at, f"a case is a mapping with 'id' and 'kind', not {case.shown()}")
        return CaseEntry("", "", case.at, case.at, "", Node({}, case.at), (), {})
    written = case.value
    axes = read_axes(written["matrix"], problems) if "matrix" in written else ()
    return CaseEntry(
        id=_name(case, "id", "the case", problems),
        kind=_name(case, "kind", "the case", problems),
        id_at=written.get("id", case).at,
        kind_at=written.get("kind", case).at,
        figure=_figure(written.get("figure"), problems),
        tree=case.restricted(lambda key: key not in IDENTITY),
        axes=axes,
        sizes=read_sizes(written.get("sizes"), axes, problems),
    )


def _figure(node: Node | None, problems: Problems) -> str:
    figure = _text(node, '\'figure\' must be a string, such as "5" or "9, 10"', problems)
    printable = figure.strip() and figure.isprintable() and len(figure) <= MAX_FIGURE
    if node and node.value == figure and not printable:
        message = f"'figure' must be 1 to {MAX_FIGURE} printable characters, not {node.shown()}"
        problems.note(node.at, message)
        return ""
    return figure
