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
from pcbench.suite.yaml.problems import Position, Problem, SuiteError

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

    def at(self, size: str, problems: list[Problem]) -> CaseEntry:
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
    problems: list[Problem]

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
    for key, node in root.value.items():
        if key not in SUITE_KEYS:
            hint = did_you_mean(key, SUITE_KEYS)
            problems.append(Problem(node.key_at or node.at, f"unknown key {key!r}{hint}"))
    return Layout(
        path=path,
        name=_name(root, root.value, "suite", "the suite", problems),
        description=_description(root.value.get("description"), problems),
        covers=_covers(root.value.get("covers"), problems),
        defaults=_defaults(root.value.get("defaults"), root.at, problems),
        cases=_cases(root, root.value.get("cases"), problems),
        problems=problems,
    )


def _name(
    owner: Node, mapping: dict[str, Node], key: str, what: str, problems: list[Problem]
) -> str:
    node = mapping.get(key)
    if node is None:
        problems.append(Problem(owner.at, f"{what} lacks {key!r}"))
    elif not isinstance(node.value, str):
        problems.append(Problem(node.at, f"{key!r} must be a string, not {node.shown()}"))
    elif not re.fullmatch(NAME_PATTERN, node.value):
        message = (
            f"{key!r} must be made of a-z, A-Z, 0-9, '_', '-' and '.', and not begin with "
            f"the last two; {node.shown()} is not"
        )
        problems.append(Problem(node.at, message))
    else:
        return node.value
    return ""


def _description(node: Node | None, problems: list[Problem]) -> str:
    if node is None:
        return ""
    if not isinstance(node.value, str):
        problems.append(Problem(node.at, f"'description' must be a string, not {node.shown()}"))
        return ""
    return node.value


def _covers(node: Node | None, problems: list[Problem]) -> tuple[Part, ...] | None:
    if node is None:
        return None
    if not isinstance(node.value, list) or not node.value:
        given = "an empty list" if node.value == [] else node.shown()
        message = (
            f"'covers' must be a list of at least one part of the contract, such as [loss], not "
            f"{given}; leave it out where the suite claims nothing in particular"
        )
        problems.append(Problem(node.at, message))
        return None
    found: list[Part] = []
    for entry in node.value:
        if not isinstance(entry.value, str) or entry.value not in list(Part):
            hint = did_you_mean(entry.value, Part) if isinstance(entry.value, str) else ""
            message = f"'covers' must name parts of the contract; {entry.shown()} is none{hint}"
            problems.append(Problem(entry.at, message))
        elif (part := Part(entry.value)) in found:
            problems.append(
                Problem(entry.at, f"'covers' names {part.value!r} twice; once is enough")
            )
        else:
            found.append(part)
    return tuple(found)


def _defaults(node: Node | None, at: Position, problems: list[Problem]) -> Node:
    if node is None:
        return Node({}, at)
    if not isinstance(node.value, dict):
        problems.append(Problem(node.at, f"'defaults' must be a mapping, not {node.shown()}"))
        return Node({}, at)
    for key in IDENTITY:
        if key in node.value:
            wrong = node.value[key]
            message = f"{key!r} belongs to a single case; move it from 'defaults' to the case"
            problems.append(Problem(wrong.key_at or wrong.at, message))
    return node


def _cases(root: Node, node: Node | None, problems: list[Problem]) -> list[CaseEntry]:
    if node is None:
        problems.append(Problem(root.at, "the suite lacks 'cases'"))
        return []
    if not isinstance(node.value, list) or not node.value:
        given = "an empty list" if node.value == [] else node.shown()
        message = f"'cases' must be a list of at least one case, not {given}"
        problems.append(Problem(node.at, message))
        return []
    entries: list[CaseEntry] = []
    first: dict[str, Position] = {}
    total = 0
    for case in node.value:
        entry = _entry(case, problems)
        total += sum(count(entry.axes_at(size)) for size in entry.all_sizes)
        if total > MAX_CASES:
            message = f"with this case the suite makes over {MAX_CASES:,} cases; split it"
            raise SuiteError([*problems, Problem(case.at, message)])
        if first.setdefault(entry.id, entry.id_at) is not entry.id_at and entry.id:
            message = f"the id {entry.id!r} is taken at {first[entry.id]}; choose another"
            problems.append(Problem(entry.id_at, message))
        entries.append(entry)
    return entries


def _entry(case: Node, problems: list[Problem]) -> CaseEntry:
    if not isinstance(case.value, dict):
        message = f"a case is a mapping with 'id' and 'kind', not {case.shown()}"
        problems.append(Problem(case.at, message))
        return CaseEntry("", "", case.at, case.at, "", Node({}, case.at), (), {})
    mapping = case.value
    axes = read_axes(mapping["matrix"], problems) if "matrix" in mapping else ()
    return CaseEntry(
        id=_name(case, mapping, "id", "the case", problems),
        kind=_name(case, mapping, "kind", "the case", problems),
        id_at=mapping.get("id", case).at,
        kind_at=mapping.get("kind", case).at,
        figure=_figure(mapping.get("figure"), problems),
        tree=case.restricted(lambda key: key not in IDENTITY),
        axes=axes,
        sizes=read_sizes(mapping.get("sizes"), axes, problems),
    )


def _figure(node: Node | None, problems: list[Problem]) -> str:
    if node is None:
        return ""
    if not isinstance(node.value, str):
        message = f'\'figure\' must be a string, such as "5" or "9, 10", not {node.shown()}'
    elif not (node.value.strip() and node.value.isprintable() and len(node.value) <= MAX_FIGURE):
        message = f"'figure' must be 1 to {MAX_FIGURE} printable characters, not {node.shown()}"
    else:
        return node.value
    problems.append(Problem(node.at, message))
    return ""
