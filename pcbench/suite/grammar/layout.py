"""The layout of a suite file: its cases with their matrices and sizes, without any case kind.

    - id: convergence
      training: {epochs: 1}
      matrix: {network.width: [50, 100]}
      sizes:
        full: {training.epochs: 35, matrix: {network.width: [100, 500]}}

The case as written is of size ``quick``. A size replaces values at dotted paths, and values of the
matrix's axes; it cannot add an axis. This is all that ``pcbench list`` needs, so nothing heavy is
imported here or beneath.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pcbench.contract.parts import Part
from pcbench.registry import did_you_mean
from pcbench.suite.expand import Axis, count, path_problem, read_axes
from pcbench.suite.grammar.schema import CASE, NAME, QUICK, SIZE, SUITE, Schema, read
from pcbench.suite.yaml.document import read_document
from pcbench.suite.yaml.node import Node, Path, dotted, split
from pcbench.suite.yaml.problems import Position, Problem, Problems, SuiteError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Sequence

MAX_CASES = 10_000  # at all sizes together


@dataclass(frozen=True, slots=True)
class Size:
    """What a case says at a size."""

    # What it sets at which path; each has the path for its key.
    values: tuple[tuple[Path, Node], ...]
    axes: tuple[Axis, ...]  # the case's axes, with the values that they take at this size


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """A case as written, before its matrix is expanded."""

    # Empty where missing or not valid; the problem is noted.
    id: str
    kind: str
    id_at: Position
    kind_at: Position
    figure: str  # which figure of the paper it reproduces; empty if none
    tree: Node  # run settings and parameters: the case without the keys that identify it
    sizes: dict[str, Size]  # what the case says at each size, ``quick`` first

    def at(self, size: str) -> tuple[str, Size]:
        """Return the size at which the case runs when a size is asked for: quick if it lacks it."""
        name = size if size in self.sizes else QUICK
        return name, self.sizes[name]


@dataclass(frozen=True, slots=True)
class Layout:
    """A suite as written."""

    path: pathlib.Path
    name: str
    description: str
    # The parts of the contract that it claims to judge; ``None`` where it does not say.
    covers: tuple[Part, ...] | None
    defaults: Node  # a mapping, merged beneath every case
    cases: list[CaseEntry]
    # What is wrong so far. A layout with problems serves only to find more of them.
    problems: Problems

    @property
    def sizes(self) -> tuple[str, ...]:
        """The sizes that its cases have, the one at which they are written first."""
        return tuple(dict.fromkeys(size for case in self.cases for size in case.sizes))


def read_layout(path: pathlib.Path) -> Layout:
    """Read a suite file."""
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

    ``requires`` is what the owner is called, if it must have the key.
    """
    node = (owner.as_mapping() or {}).get(key)
    if node is None and requires:
        problems.note(owner.at, f"{requires} lacks {key!r}")
    return read(node, repr(key), schemas[key], str, problems) if node else ""


def _covers(node: Node | None, problems: Problems) -> tuple[Part, ...] | None:
    if node is None:
        return None
    found: list[Part] = []
    for entry in read(node, "'covers'", SUITE["covers"], list, problems):
        if not isinstance(entry.value, str) or entry.value not in list(Part):
            parts = [part.value for part in Part]
            hint = did_you_mean(entry.value, parts) if isinstance(entry.value, str) else ""
            message = f"'covers' must name parts of the contract; {entry.shown()} is none{hint}"
            problems.note(entry.at, message)
        elif (part := Part(entry.value)) in found:
            problems.note(entry.at, f"'covers' names {part.value!r} twice; once is enough")
        else:
            found.append(part)
    return tuple(found)


def _defaults(node: Node, problems: Problems) -> Node:
    written = read(node, "'defaults'", SUITE["defaults"], dict, problems)
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
    for case in read(node, "'cases'", SUITE["cases"], list, problems):
        entry = _entry(case, problems)
        total += sum(count(size.axes) for size in entry.sizes.values())
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
        nothing = {QUICK: Size((), ())}
        return CaseEntry("", "", case.at, case.at, "", Node({}, case.at), nothing)
    written = case.value
    axes = read_axes(written["matrix"], problems) if "matrix" in written else ()
    return CaseEntry(
        id=_text(case, "id", CASE, problems, "the case"),
        kind=_text(case, "kind", CASE, problems, "the case"),
        id_at=written.get("id", case).at,
        kind_at=written.get("kind", case).at,
        figure=_text(case, "figure", CASE, problems),
        tree=case.restricted(lambda key: key not in CASE),
        sizes=_sizes(written.get("sizes"), axes, problems),
    )


def _sizes(node: Node | None, axes: tuple[Axis, ...], problems: Problems) -> dict[str, Size]:
    """Read a case's ``sizes`` beside its matrix; what is not valid is left out, and noted."""
    sizes = {QUICK: Size((), axes)}
    written = read(node, "'sizes'", CASE["sizes"], dict, problems) if node else {}
    for name, size in written.items():
        if name == QUICK:
            message = f"{QUICK!r} is the case as written; set there what it is to be"
            problems.note(size.name_at, message)
        elif not re.fullmatch(NAME["pattern"], name):
            message = f"the size {name!r} must be named by letters, digits, '_', '-' and '.'"
            problems.note(size.name_at, message)
        else:
            sizes[name] = _read_size(name, size, axes, problems)
    return sizes


def check_size(size: str, known: Iterable[str]) -> None:
    """Make sure that suites have a size."""
    names = list(dict.fromkeys([QUICK, *known]))
    if size not in names:
        there = f"there are {', '.join(names)}" if len(names) > 1 else f"there is only {QUICK}"
        at = Position(f"--size {shlex.quote(size)}")
        raise SuiteError.at(at, f"no case has this size; {there}")


def _read_size(name: str, size: Node, axes: tuple[Axis, ...], problems: Problems) -> Size:
    values: list[tuple[Path, Node]] = []
    for key, node in read(size, f"the size {name!r}", SIZE, dict, problems).items():
        if key == "matrix":
            axes = _other_values(name, node, axes, problems)
        elif problem := _problem(name, key, axes):
            problems.note(node.name_at, problem)
        else:
            values.append((split(key), node))
    return Size(tuple(values), axes)


def _problem(name: str, key: str, axes: Sequence[Axis]) -> str:
    """Say what keeps a size from setting a path; empty if nothing does."""
    path = split(key)
    for axis in axes:
        shared = min(len(path), len(axis.path))
        if path[:shared] == axis.path[:shared]:
            varied = dotted(axis.path)
            return (
                f"the matrix varies {varied!r}, so the size {name!r} cannot set {key!r}; give "
                f"it 'matrix: {{{varied}: [...]}}' instead"
            )
    return path_problem(key, "a size cannot set {!r}; write a case of its own")


def _other_values(
    name: str, matrix: Node, axes: tuple[Axis, ...], problems: Problems
) -> tuple[Axis, ...]:
    """Return the axes with the values that a size's ``matrix`` gives them."""
    others = {axis.path: axis for axis in read_axes(matrix, problems)}
    known = [axis.path for axis in axes]
    for path in others.keys() - known:
        hint = did_you_mean(dotted(path), map(dotted, known))
        message = (
            f"the case's matrix has no axis {dotted(path)!r} to which the size {name!r} could "
            f"give other values{hint or '; set the parameter itself'}"
        )
        problems.note(others[path].values[0].name_at, message)
    # The label stays the case's own: with fewer axes a shorter one might have done.
    return tuple(
        replace(axis, values=others[axis.path].values) if axis.path in others else axis
        for axis in axes
    )
