"""From one case with a matrix to its concrete cases.

    - id: origin
      matrix: {network.hidden_layers: [2, 5], data.name: [mnist1d, toy_gaussian]}

stands for four cases, ``origin[hidden_layers=2,data=mnist1d]`` first; the first axis varies
slowest.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from pcbench.suite.grammar.schema import AXIS, CASE, MATRIX, read
from pcbench.suite.yaml.node import Node, NoKeysError, Path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pcbench.suite.yaml.problems import Problems

IDENTITY = tuple(CASE)
# The run settings that choose the backend and its precision: they do not change the question.
COMPUTING = ("backend", "device", "dtype")


Choice = tuple[Path, Node]
"""A parameter, such as ``("network", "width")``, and a value that it takes."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter and its values."""

    path: Path
    label: str  # in identifiers
    values: list[Node]  # at least one, all different; each has the axis for its key


@dataclass(frozen=True, slots=True)
class Variant:
    """One concrete case: its identifier, and its value on every axis."""

    id: str
    # Without the axes of backend, device and dtype: variants that differ in these alone see the
    # same weights and data.
    randomness: str
    choices: tuple[Choice, ...]

    def covers(self, other: Variant) -> bool:
        """Whether the other has the same value on every axis of this one."""
        theirs = {(path, id(value)) for path, value in other.choices}
        return theirs.issuperset((path, id(value)) for path, value in self.choices)

    def apply(self, tree: Node, problems: Problems) -> Node:
        """Return the case's values with those of the axes put in."""
        return put_all(tree, self.choices, "the axis", problems)


def put_all(tree: Node, choices: Iterable[Choice], what: str, problems: Problems) -> Node:
    """Return a case's values with others put in; a path through a scalar is noted as a problem."""
    # A whole mapping goes in before its own entries, in whatever order they are written.
    for path, value in sorted(choices, key=lambda choice: len(choice[0])):
        try:
            tree = tree.put(path, value)
        except NoKeysError as error:
            message = f"{what} {'.'.join(path)!r} leads through {error}, which has no keys"
            problems.note(value.name_at, message)
    return tree


def read_axes(matrix: Node, problems: Problems) -> tuple[Axis, ...]:
    """Read a case's ``matrix``; an axis that is not valid is left out, with the problem noted."""
    written = read(matrix, "'matrix'", MATRIX, dict, problems)
    candidates = (_read_axis(key, node, problems) for key, node in written.items())
    axes = [axis for axis in candidates if axis]
    uses = Counter(axis.label for axis in axes)
    return tuple(
        replace(axis, label=".".join(axis.path)) if uses[axis.label] > 1 else axis for axis in axes
    )


def path_problem(text: str, fixed: str) -> str:
    """Say why a dotted path cannot be varied or set; empty if it can.

    ``fixed`` is what to say of a path to what identifies the case.
    """
    first, *others = text.split(".")
    if not all([first, *others]):
        return f"{text!r} is not a path: write names joined by single dots"
    return fixed.format(first) if first in IDENTITY else ""


def variants(case_id: str, axes: Sequence[Axis]) -> Iterator[Variant]:
    """Yield the concrete cases of a case: the first axis varies slowest."""
    for values in product(*(axis.values for axis in axes)):
        chosen = list(zip(axes, values, strict=True))
        posed = [each for each in chosen if each[0].path[0] not in COMPUTING]
        choices = tuple((axis.path, value) for axis, value in chosen)
        yield Variant(_identifier(case_id, chosen), _identifier(case_id, posed), choices)


def _identifier(case_id: str, chosen: Sequence[tuple[Axis, Node]]) -> str:
    labels = ",".join(f"{axis.label}={value.label()}" for axis, value in chosen)
    return f"{case_id}[{labels}]" if chosen else case_id


def count(axes: Sequence[Axis]) -> int:
    """Return how many concrete cases the axes make, without making them."""
    return prod(len(axis.values) for axis in axes)


def _read_axis(key: str, node: Node, problems: Problems) -> Axis | None:
    problem = path_problem(key, "an axis cannot vary {!r}; write a case for each value")
    if problem:
        problems.note(node.name_at, problem)
        return None
    values = read(node, f"the axis {key!r}", AXIS, list, problems)
    seen: dict[str, Node] = {}
    for value in values:  # cases of values that are written alike could not be told apart
        label = value.label()
        first = seen.setdefault(label, value)
        if first is not value:
            message = f"the axis {key!r} already has {label} at {first.at}; remove one of them"
            problems.note(value.at, message)
    path = tuple(key.split("."))
    named = path[-1] == "name" and len(path) > 1  # data.name says which data it is
    choices = [replace(value, key_at=node.name_at) for value in values]
    return Axis(path, path[-2] if named else path[-1], choices) if choices else None
