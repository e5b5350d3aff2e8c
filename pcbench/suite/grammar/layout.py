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
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pcbench.contract.parts import Part
from pcbench.registry import did_you_mean
from pcbench.suite.expand import (
    Axis,
    Choice,
    Exclusion,
    Variant,
    count,
    of_one_length,
    path_problem,
    read_axes,
    read_exclusions,
    variants,
)
from pcbench.suite.grammar.schema import CASE, NAME, QUICK, SIZE, SUITE, T, read
from pcbench.suite.grammar.seeds import SEEDS, counts_seeds, seed_axis, with_seeds
from pcbench.suite.yaml.document import read_document
from pcbench.suite.yaml.node import Node
from pcbench.suite.yaml.problems import Position, Problems, SuiteError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Iterator, Sequence

    from pcbench.suite.yaml.node import Path

MAX_CASES = 10_000  # at all sizes together, unless more are allowed


@dataclass(frozen=True, slots=True)
class Size:
    """What a case says at a size."""

    values: tuple[Choice, ...]  # what it sets; each value has the path for its key
    axes: tuple[Axis, ...]  # the case's axes, with the values that they take at this size
    excluded: tuple[Exclusion, ...] = ()  # combinations that make no case

    def variants(self, case_id: str) -> Iterator[Variant]:
        """Yield the concrete cases of a case at this size."""
        return variants(case_id, self.axes, self.excluded)


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """A case as written, before its matrix is expanded."""

    # Empty where missing or not valid; the problem is noted.
    id: str
    kind: str
    id_at: Position
    kind_at: Position
    figure: str  # which figure of the paper it reproduces; empty if none
    tags: tuple[str, ...]  # by which it can be selected
    expected_failure: str  # the reason why a check fails; empty if none is to
    tree: Node  # run settings and parameters: the case without the keys that identify it
    sizes: dict[str, Size]  # what the case says at each size, ``quick`` first

    @property
    def count(self) -> int:
        """How many concrete cases it makes at all sizes, at most."""
        return sum(count(size.axes) for size in self.sizes.values())

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
    includes: list[Node]  # files or names of suites whose cases are also this one's
    # What is wrong so far. A layout with problems serves only to find more of them.
    problems: Problems
    included: list[Layout] = field(default_factory=list)  # those suites, once they are read

    @property
    def parts(self) -> list[Layout]:
        """The suites that it is made of, the included ones first, and then its own cases."""
        return [*(part for each in self.included for part in each.parts), self]

    @property
    def sizes(self) -> tuple[str, ...]:
        """The sizes that its cases have, the one at which they are written first."""
        cases = [case for part in self.parts for case in part.cases]
        return tuple(dict.fromkeys([QUICK, *(size for case in cases for size in case.sizes)]))

    def include(self, other: Layout) -> None:
        """Take in the cases of another suite, and what is wrong with it."""
        first = {case.id: case.id_at for part in self.parts for case in part.cases if case.id}
        for case in (case for part in other.parts for case in part.cases):
            if case.id in first:
                message = f"the id {case.id!r} is taken at {first[case.id]}; choose another"
                self.problems.note(case.id_at, message)
        self.included.append(other)
        self.problems.extend(other.problems)


def read_layout(path: pathlib.Path) -> Layout:
    """Read a suite file."""
    root, problems = read_document(path)
    if not isinstance(root.value, dict):
        raise SuiteError.at(
            root.at, f"a suite is a mapping with 'suite' and 'cases', not {root.shown()}"
        )
    for key, node in root.value.items():
        if key not in SUITE:
            problems.note(node.name_at, f"unknown key {key!r}{did_you_mean(key, SUITE)}")
    defaults = _defaults(root, problems)
    return Layout(
        path=path,
        name=_value(root, "suite", str, problems, "the suite"),
        description=_value(root, "description", str, problems),
        covers=_covers(root, problems) if "covers" in root.value else None,
        defaults=defaults,
        cases=_cases(root, defaults, problems),
        includes=_value(root, "include", list, problems),
        problems=problems,
    )


def _value(owner: Node, key: str, kind: type[T], problems: Problems, requires: str = "") -> T:
    """Read what a mapping has at a key, empty where it is missing or wrong.

    ``requires`` is what the owner is called, if it must have the key.
    """
    node = owner.get(key)
    if node:
        return read(node, repr(key), {**SUITE, **CASE}[key], kind, problems)
    if requires:
        problems.note(owner.at, f"{requires} lacks {key!r}")
    return kind()


def _covers(root: Node, problems: Problems) -> tuple[Part, ...]:
    found: list[Part] = []
    for entry in _value(root, "covers", list, problems):
        name, parts = entry.value, [part.value for part in Part]
        if name in found:
            problems.note(entry.at, f"'covers' names {name!r} twice; once is enough")
        elif name in parts:
            found.append(Part(name))
        else:
            hint = did_you_mean(name, parts) if isinstance(name, str) else ""
            message = f"'covers' must name parts of the contract; {entry.shown()} is none{hint}"
            problems.note(entry.at, message)
    return tuple(found)


def _defaults(root: Node, problems: Problems) -> Node:
    written = _value(root, "defaults", dict, problems)
    for key in written.keys() & {*CASE, "tolerance_factor"}:
        message = f"{key!r} belongs to a single case; move it from 'defaults' to the case"
        problems.note(written[key].name_at, message)
    return Node(written, root.at)


def _cases(root: Node, defaults: Node, problems: Problems) -> list[CaseEntry]:
    entries: list[CaseEntry] = []
    first: dict[str, Position] = {}
    for case in _value(root, "cases", list, problems, "" if root.get("include") else "the suite"):
        entry = _entry(case, defaults, problems)
        if first.setdefault(entry.id, entry.id_at) is not entry.id_at and entry.id:
            message = f"the id {entry.id!r} is taken at {first[entry.id]}; choose another"
            problems.note(entry.id_at, message)
        entries.append(entry)
    return entries


def _entry(case: Node, defaults: Node, problems: Problems) -> CaseEntry:
    if not isinstance(case.value, dict):
        problems.note(case.at, f"a case is a mapping with 'id' and 'kind', not {case.shown()}")
        nothing = {QUICK: Size((), ())}
        return CaseEntry("", "", case.at, case.at, "", (), "", Node({}, case.at), nothing)
    name, kind = (_value(case, key, str, problems, "the case") for key in ("id", "kind"))
    own = {*CASE, SEEDS} if counts_seeds(case, defaults, kind) else {*CASE}
    return CaseEntry(
        id=name,
        kind=kind,
        id_at=case.value.get("id", case).at,
        kind_at=case.value.get("kind", case).at,
        figure=_value(case, "figure", str, problems),
        tags=tuple(_tags(case, problems)),
        expected_failure=_expected_failure(case, problems),
        tree=case.restricted(lambda key: key not in own),
        sizes=_sizes(case, defaults if SEEDS in own else None, problems),
    )


def _sizes(case: Node, defaults: Node | None, problems: Problems) -> dict[str, Size]:
    """Read a case's matrix and ``sizes``; what is not valid is left out, and noted.

    With ``defaults`` the case's ``seeds`` are cases of their own.
    """
    axes = of_one_length(read_axes(case.get("matrix"), problems, case.get("zip")), problems)
    if defaults:
        axes = (*axes, *seed_axis(case, defaults, axes, problems))
    excluded = read_exclusions(case.get("exclude"), axes, problems)
    sizes = {QUICK: Size((), axes, excluded)}
    for name, size in _value(case, "sizes", dict, problems).items():
        if name == QUICK:
            message = f"{QUICK!r} is the case as written; set there what it is to be"
            problems.note(size.name_at, message)
        elif not re.fullmatch(NAME["pattern"], name):
            message = f"the size {name!r} must be named by letters, digits, '_', '-' and '.'"
            problems.note(size.name_at, message)
        else:
            sizes[name] = replace(
                _read_size(name, size, axes, problems, counts=bool(defaults)), excluded=excluded
            )
    exclude = case.get("exclude")
    if exclude and excluded:
        _check_exclusions(exclude, sizes, problems)
    return sizes


def _check_exclusions(exclude: Node, sizes: dict[str, Size], problems: Problems) -> None:
    """Note if all that is excluded leaves nothing, or leaves out nothing."""
    if sum(count(size.axes) for size in sizes.values()) > MAX_CASES:  # which is refused for that
        return
    for name, size in sizes.items():
        if not any(True for _ in size.variants("")):
            message = f"'exclude' leaves no combination at size {name!r}; leave out less"
            problems.note(exclude.name_at, message)
    values: dict[Path, set[str]] = {}
    for axis in (axis for size in sizes.values() for axis in size.axes):
        values.setdefault(axis.path, set()).update(value.label() for value in axis.values)
    for rule in exclude.value if isinstance(exclude.value, list) else ():
        for path, value in (rule.as_mapping() or {}).items():
            known = values.get(tuple(path.split(".")), {value.label()})
            if value.label() not in known:
                message = f"{path!r} never has the value {value.label()}; nothing is left out"
                problems.note(value.at, message)


def _tags(case: Node, problems: Problems) -> Iterator[str]:
    seen: set[str] = set()
    for tag in _value(case, "tags", list, problems):
        name = read(tag, "a tag", NAME, str, problems)
        if name in seen:
            problems.note(tag.at, f"the tag {name!r} is there twice; once is enough")
        elif name:
            seen.add(name)
            yield name


def _expected_failure(case: Node, problems: Problems) -> str:
    written = _value(case, "expect", dict, problems)
    for key, node in written.items():
        if key != "fail":
            problems.note(node.name_at, f"unknown key {key!r}{did_you_mean(key, ['fail'])}")
    reason = written.get("fail")
    if reason is None:
        return ""
    return read(reason, "'fail'", CASE["expect"]["properties"]["fail"], str, problems)


def check_size(size: str, known: Iterable[str]) -> None:
    """Make sure that suites have a size."""
    names = list(dict.fromkeys([QUICK, *known]))
    if size not in names:
        there = f"there are {', '.join(names)}" if len(names) > 1 else f"there is only {QUICK}"
        at = Position(f"--size {shlex.quote(size)}")
        raise SuiteError.at(at, f"no case has this size; {there}")


def _read_size(
    name: str, size: Node, axes: tuple[Axis, ...], problems: Problems, *, counts: bool
) -> Size:
    values: list[Choice] = []
    for key, node in read(size, f"the size {name!r}", SIZE, dict, problems).items():
        if key == SEEDS and counts:
            axes = with_seeds(node, axes, size, problems)
        elif key == "matrix":
            axes = of_one_length(_other_values(name, node, axes, problems), problems)
        elif problem := _problem(name, key, axes):
            problems.note(node.name_at, problem)
        else:
            values.append((tuple(key.split(".")), node))
    return Size(tuple(values), axes)


def _problem(name: str, key: str, axes: Sequence[Axis]) -> str:
    """Say what keeps a size from setting a path; empty if nothing does."""
    for axis in axes:
        if all(a == b for a, b in zip(key.split("."), axis.path, strict=False)):
            varied = ".".join(axis.path)
            if axis.counted:
                return f"the case has seeds, so the size {name!r} cannot set one; give it 'seeds'"
            return (
                f"the matrix varies {varied!r}, so the size {name!r} cannot set {key!r}; give "
                f"it 'matrix: {{{varied}: [...]}}' instead"
            )
    return path_problem(key, "a size cannot set {!r}; write a case of its own")


def _other_values(
    name: str, matrix: Node, axes: tuple[Axis, ...], problems: Problems
) -> tuple[Axis, ...]:
    """Return the axes with the values that a size's ``matrix`` gives them."""
    known = {".".join(axis.path): axis for axis in axes}
    zipped = [path for path, axis in known.items() if axis.zipped]
    written = read_axes(matrix, problems, zipped=zipped)
    others = {".".join(axis.path): axis.values for axis in written}
    for path in others.keys() - known.keys():
        hint = did_you_mean(path, known) or "; set the parameter itself"
        message = (
            f"the case's matrix has no axis {path!r} to which the size {name!r} could give other "
            f"values{hint}"
        )
        problems.note(others[path][0].name_at, message)
    # The label stays the case's own: with fewer axes a shorter one might have done.
    return tuple(
        replace(axis, values=others.get(path, axis.values)) for path, axis in known.items()
    )
