"""``seeds: N`` on a case: a case for each of ``N`` seeds, from its ``seed`` on.

Some kinds have a parameter of that name for replicas of their own, and get it instead.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pcbench import registry
from pcbench.suite.expand import Axis
from pcbench.suite.grammar import schema
from pcbench.suite.yaml.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pcbench.suite.yaml.problems import Problems

SEEDS: Final = "seeds"
REPLICATING = frozenset({"escape_law", "origin_escape"})
"""Kinds of pcbench with replicas of their own: none is imported to know it, so listing is quick."""

_VARIED = "the case varies 'seed' already; leave out 'seeds', or the axis"


def counts_seeds(case: Node, defaults: Node, kind: str) -> bool:
    """Whether each seed of the case makes a case: it has ``seeds``, in itself or in a size."""
    sizes = case.get("sizes")
    places = [case, defaults, *((sizes.as_mapping() or {}).values() if sizes else ())]
    if kind in REPLICATING or not any(place.get(SEEDS) for place in places):
        return False
    if registry.CASES.module(kind).startswith("pcbench."):
        return True
    from pcbench.suite.grammar.settings import load_kind  # pydantic

    with suppress(registry.UnknownNameError, registry.BrokenPluginError):  # told by the plan
        return SEEDS not in load_kind(kind).Parameters.model_fields
    return True


def seed_axis(
    case: Node, defaults: Node, axes: Sequence[Axis], problems: Problems
) -> Iterator[Axis]:
    """Yield the axis of a case's seeds; none where what is written is not valid."""
    count, first = (case.get(key) or defaults.get(key) for key in (SEEDS, "seed"))
    if any(axis.path == ("seed",) for axis in axes):
        if own := case.get(SEEDS):
            problems.note(own.name_at, _VARIED)
        return
    values = _values(count or Node(1, case.at), first or Node(0, (count or case).at), problems)
    if values:
        label = "seeds" if any(axis.label == "seed" for axis in axes) else "seed"
        yield Axis(("seed",), label, values, counted=True)


def with_seeds(
    count: Node, axes: Sequence[Axis], size: Node, problems: Problems
) -> tuple[Axis, ...]:
    """Return the axes with another number of seeds, as a size has it."""
    matrix = size.get("matrix")
    varied = any(axis.path == ("seed",) and not axis.counted for axis in axes)
    if varied or (matrix and matrix.get("seed")):
        problems.note(count.name_at, _VARIED)
    return tuple(
        replace(axis, values=_values(count, axis.values[0], problems) or axis.values)
        if axis.counted
        else axis
        for axis in axes
    )


def _values(count: Node, first: Node, problems: Problems) -> list[Node]:
    """Return the seeds; none, and it is noted, where that is no number of seeds."""
    number, start, rule = count.value, first.value, schema.SEEDS
    if not (type(number) is int and rule["minimum"] <= number <= rule["maximum"]):
        problems.note(count.at, f"{SEEDS!r} must be {rule['title']}, not {count.shown()}")
        return []
    if type(start) is not int:  # the plan says what it must be
        return []
    return [Node(start + index, first.at, count.name_at) for index in range(number)]
