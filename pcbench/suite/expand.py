"""From one case with a matrix to its concrete cases.

    - id: origin
      matrix: {network.hidden_layers: [2, 5], data.name: [mnist1d, toy_gaussian]}

stands for four cases, ``origin[hidden_layers=2,data=mnist1d]`` first; the first axis varies
slowest. Parameters of ``zip`` vary together, after those of the matrix, and ``exclude`` leaves
combinations out:

      zip: {network.width: [300, 50], training.learning_rate: [1e-3, 1e-2]}
      exclude: [{network.hidden_layers: 5, network.width: 300}]
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from pcbench.registry import did_you_mean
from pcbench.suite.grammar.schema import AXIS, CASE, EXCLUSION, read
from pcbench.suite.yaml.node import Node, NoKeysError, Path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from pcbench.suite.yaml.problems import Problems

IDENTITY = tuple(CASE)
# Run settings that choose the backend, its precision and what is allowed: the question is the same.
COMPUTING = ("backend", "device", "dtype", "tolerance_factor")


Choice = tuple[Path, Node]
"""A parameter, such as ``("network", "width")``, and a value that it takes."""


Exclusion = dict[Path, str]
"""Labels of values of some axes; combinations that have all of them are left out."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter and its values."""

    path: Path
    label: str  # in identifiers
    values: list[Node]  # at least one; each has the axis for its key
    zipped: bool = False  # whether it varies together with the others that are
    counted: bool = False  # whether it is of seeds, of which the case only says how many


Step = tuple[tuple[Axis, Node], ...]
"""A value of an axis, or of all that are zipped."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One concrete case: its identifier, and its value on every axis."""

    id: str
    # Without the axes of backend, device and dtype: variants that differ in these alone see the
    # same weights and data.
    randomness: str
    choices: tuple[Choice, ...]

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


def read_axes(
    matrix: Node | None,
    problems: Problems,
    together: Node | None = None,
    zipped: Collection[str] = (),
) -> tuple[Axis, ...]:
    """Read a case's ``matrix`` and ``zip``; an axis that is not valid is left out, and noted.

    ``zipped`` are axes of the matrix that vary together, in the case that a size is of.
    """
    axes: list[Axis] = []
    for node, name in ((matrix, "matrix"), (together, "zip")):
        written = read(node, repr(name), CASE[name], dict, problems) if node else {}
        for key, values in written.items():
            axis = _read_axis(key, values, problems, zipped=name == "zip" or key in zipped)
            if axis and any(axis.path == other.path for other in axes):
                message = f"{key!r} varies in 'matrix' already; keep one of them"
                problems.note(values.name_at, message)
            elif axis:
                axes.append(axis)
    uses = Counter(axis.label for axis in axes)
    return tuple(
        replace(axis, label=".".join(axis.path)) if uses[axis.label] > 1 else axis for axis in axes
    )


def of_one_length(axes: Sequence[Axis], problems: Problems) -> tuple[Axis, ...]:
    """Return the axes, of which those that vary together have as many values; else it is noted."""
    zipped = [axis for axis in axes if axis.zipped]
    for axis in zipped[1:]:
        if len(axis.values) != len(zipped[0].values):
            first = f"{'.'.join(zipped[0].path)!r} has {len(zipped[0].values)}"
            message = f"it has {len(axis.values)} values, and {first}; what is zipped has as many"
            problems.note(axis.values[0].name_at, message)
            least = min(len(each.values) for each in zipped)
            return tuple(
                replace(each, values=each.values[:least]) if each.zipped else each for each in axes
            )
    columns = [[value.label() for value in axis.values] for axis in zipped]
    rows = list(zip(*columns, strict=True))
    seen: set[tuple[str, ...]] = set()
    for index, row in enumerate(rows):
        if row in seen:
            message = "what is zipped has the same values here as in an earlier place; remove one"
            problems.note(zipped[0].values[index].at, message)
        seen.add(row)
    return tuple(axes)


def read_exclusions(
    node: Node | None, axes: Sequence[Axis], problems: Problems
) -> tuple[Exclusion, ...]:
    """Read a case's ``exclude``; one that leaves nothing out is noted."""
    known = {".".join(axis.path): axis for axis in axes}
    found = []
    for entry in read(node, "'exclude'", CASE["exclude"], list, problems) if node else ():
        rule = read(entry, "an entry of 'exclude'", EXCLUSION, dict, problems)
        for path, value in rule.items():
            if path not in known:
                hint = did_you_mean(path, known)
                message = f"'exclude' names {path!r}, which no axis of the case varies{hint}"
                problems.note(value.name_at, message)
        if rule.keys() <= known.keys():
            found.append({known[path].path: value.label() for path, value in rule.items()})
    return tuple(filter(None, found))


def leaves_out(excluded: Sequence[Exclusion]) -> Callable[[Iterable[tuple[Axis, Node]]], bool]:
    """Return a test of combinations, as quick for many rules as for few about the same axes."""
    rules: dict[tuple[Path, ...], set[tuple[str, ...]]] = {}
    for rule in excluded:
        rules.setdefault(tuple(rule), set()).add(tuple(rule.values()))

    def is_left_out(chosen: Iterable[tuple[Axis, Node]]) -> bool:
        labels = {axis.path: value.label() for axis, value in chosen} if rules else {}
        return any(
            tuple(labels.get(path, "") for path in paths) in those for paths, those in rules.items()
        )

    return is_left_out


def path_problem(text: str, fixed: str) -> str:
    """Say why a dotted path cannot be varied or set; empty if it can.

    ``fixed`` is what to say of a path to what identifies the case.
    """
    first, *others = text.split(".")
    if not all([first, *others]):
        return f"{text!r} is not a path: write names joined by single dots"
    return fixed.format(first) if first in IDENTITY else ""


def variants(
    case_id: str, axes: Sequence[Axis], excluded: Sequence[Exclusion] = ()
) -> Iterator[Variant]:
    """Yield the concrete cases of a case: the first axis varies slowest."""
    is_left_out = leaves_out(excluded)
    for combination in product(*_steps(axes)):
        chosen = [each for step in combination for each in step]
        if is_left_out(chosen):
            continue
        posed = [each for each in chosen if each[0].path[0] not in COMPUTING]
        choices = tuple((axis.path, value) for axis, value in chosen)
        yield Variant(_identifier(case_id, chosen), _identifier(case_id, posed), choices)


def _identifier(case_id: str, chosen: Sequence[tuple[Axis, Node]]) -> str:
    labels = ",".join(
        f"{axis.label}={value.label()}"
        for axis, value in chosen
        if not axis.counted or len(axis.values) > 1  # a single seed has no need of a name
    )
    return f"{case_id}[{labels}]" if labels else case_id


def count(axes: Sequence[Axis]) -> int:
    """Return how many concrete cases the axes make at most, without making them."""
    return prod(len(steps) for steps in _steps(axes))


def _steps(axes: Sequence[Axis]) -> list[list[Step]]:
    """Return what varies independently: each axis of the matrix, and all that is zipped."""
    found: list[list[Step]]
    found = [[((axis, value),) for value in axis.values] for axis in axes if not axis.zipped]
    zipped = [[(axis, value) for value in axis.values] for axis in axes if axis.zipped]
    return [*found, list(zip(*zipped, strict=True))] if zipped else found


def _read_axis(key: str, node: Node, problems: Problems, *, zipped: bool) -> Axis | None:
    problem = path_problem(key, "an axis cannot vary {!r}; write a case for each value")
    if problem:
        problems.note(node.name_at, problem)
        return None
    values = read(node, f"the axis {key!r}", AXIS, list, problems)
    seen: dict[str, Node] = {}
    for value in () if zipped else values:  # cases of values alike could not be told apart
        label = value.label()
        first = seen.setdefault(label, value)
        if first is not value:
            message = f"the axis {key!r} already has {label} at {first.at}; remove one of them"
            problems.note(value.at, message)
    path = tuple(key.split("."))
    named = path[-1] == "name" and len(path) > 1  # data.name says which data it is
    choices = [replace(value, key_at=node.name_at) for value in values]
    return Axis(path, path[-2] if named else path[-1], choices, zipped) if choices else None
