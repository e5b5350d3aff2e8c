"""A case's sizes: what it says instead where more, or less, time is at hand.

    - id: convergence
      training: {epochs: 1}
      matrix: {network.width: [50, 100]}
      sizes:
        full: {training.epochs: 35, matrix: {network.width: [100, 500]}}

As written it is of the size ``quick``. A size puts other values at dotted paths, and gives axes of
the matrix other values; it adds no axis, and so renames no case but by the values that it gives.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pcbench.registry import did_you_mean
from pcbench.suite.expand import Axis, path_problem, read_axes
from pcbench.suite.grammar.layout_schema import CASE, NAME, QUICK, SIZE, read_mapping
from pcbench.suite.yaml.node import Node, Path, dotted, split
from pcbench.suite.yaml.problems import Position, SuiteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pcbench.suite.yaml.problems import Problems


@dataclass(frozen=True, slots=True)
class Size:
    """What a case says at a size.

    Parameters
    ----------
    values
        What is put where; each has the path for its key.
    axes
        The case's axes, with the values that they take at this size.
    """

    values: tuple[tuple[Path, Node], ...]
    axes: tuple[Axis, ...]


def read_sizes(node: Node | None, axes: tuple[Axis, ...], problems: Problems) -> dict[str, Size]:
    """Read a case's ``sizes``; what is not valid is left out, with the problem noted.

    Parameters
    ----------
    node
        What is written, if anything is.
    axes
        The case's matrix.
    problems
        Where to note what is wrong.
    """
    sizes: dict[str, Size] = {}
    written = read_mapping(node, "'sizes'", CASE["sizes"], problems) if node else {}
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
    """Make sure that suites have a size.

    Raises
    ------
    SuiteError
        If none of them does; the message names those that there are.
    """
    names = list(dict.fromkeys([QUICK, *known]))
    if size not in names:
        there = f"there are {', '.join(names)}" if len(names) > 1 else f"there is only {QUICK}"
        at = Position(f"--size {shlex.quote(size)}")
        raise SuiteError.at(at, f"no case has this size; {there}")


def _read_size(name: str, size: Node, axes: tuple[Axis, ...], problems: Problems) -> Size:
    values: list[tuple[Path, Node]] = []
    for key, node in read_mapping(size, f"the size {name!r}", SIZE, problems).items():
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
