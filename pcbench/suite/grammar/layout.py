"""The layout of a suite file: what can be said of it without importing any case kind.

This is all that ``pcbench list`` needs, so nothing heavy is imported here or beneath.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pcbench.contract.parts import Part
from pcbench.registry import did_you_mean
from pcbench.suite.expand import Axis, count, put_all, read_axes
from pcbench.suite.grammar.layout_schema import (
    CASE,
    QUICK,
    SUITE,
    Schema,
    read_list,
    read_mapping,
    read_text,
)
from pcbench.suite.grammar.sizes import Size, read_sizes
from pcbench.suite.yaml.document import read_document
from pcbench.suite.yaml.node import Node
from pcbench.suite.yaml.problems import Position, Problem, Problems, SuiteError

if TYPE_CHECKING:
    import pathlib

MAX_CASES = 10_000  # at all sizes together


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
        if key not in SUITE:
            problems.note(node.name_at, f"unknown key {key!r}{did_you_mean(key, SUITE)}")
    return Layout(
        path=path,
        name=_text(root, "suite", SUITE, problems, "the suite"),
        description=_text(root, "description", SUITE, problems),
        covers=_covers(written.get("covers"), problems),
        defaults=_defaults(written.get("defaults", Node({}, root.at)), problems),
        cases=_cases(root, written.get("cases"), problems),
        problems=problems,
    )


def _text(
    owner: Node, key: str, schemas: dict[str, Schema], problems: Problems, requires: str = ""
) -> str:
    """Read a string of a mapping, empty where it is missing or wrong.

    Parameters
    ----------
    requires
        What the owner is called, if it must have the key.
    """
    node = (owner.as_mapping() or {}).get(key)
    if node is None and requires:
        problems.note(owner.at, f"{requires} lacks {key!r}")
    return read_text(node, repr(key), schemas[key], problems) if node else ""


def _covers(node: Node | None, problems: Problems) -> tuple[Part, ...] | None:
    if node is None:
        return None
    found: list[Part] = []
    for entry in read_list(node, "'covers'", SUITE["covers"], problems):
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
    written = read_mapping(node, "'defaults'", SUITE["defaults"], problems)
    for key in written.keys() & CASE:
        message = f"{key!r} belongs to a single case; move it from 'defaults' to the case"
        problems.note(written[key].name_at, message)
    return replace(node, value=written)


def _cases(root: Node, node: Node | None, problems: Problems) -> list[CaseEntry]:
    if node is None:
        problems.note(root.at, "the suite lacks 'cases'")
        return []
    entries: list[CaseEntry] = []
    first: dict[str, Position] = {}
    total = 0
    for case in read_list(node, "'cases'", SUITE["cases"], problems):
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
        id=_text(case, "id", CASE, problems, "the case"),
        kind=_text(case, "kind", CASE, problems, "the case"),
        id_at=written.get("id", case).at,
        kind_at=written.get("kind", case).at,
        figure=_text(case, "figure", CASE, problems),
        tree=case.restricted(lambda key: key not in CASE),
        axes=axes,
        sizes=read_sizes(written.get("sizes"), axes, problems),
    )
