"""A case's parameters, or its run settings, against their model.

Pydantic says what is wrong at a location of the *model*; the author of a suite needs the place in
the *file*. A location is the path of a value, but with the names of union members in between
(``data.toy_gaussian.samples``), and it can go on beyond what is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from pcbench.registry import did_you_mean
from pcbench.suite.expand import IDENTITY
from pcbench.suite.grammar.coercion import coerced
from pcbench.suite.grammar.fields import known_keys
from pcbench.suite.grammar.sentences import discriminator, due, given, verbatim
from pcbench.suite.grammar.settings import RUN_SETTINGS
from pcbench.suite.yaml.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

    from pcbench.suite.yaml.node import Node

Location = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a case's parameters.

    Parameters
    ----------
    problem
        The place in the file, and the sentence.
    unknown_key
        The path of a key that the kind does not have, where that is the fault.
    suggestion
        The key that was probably meant instead.
    missing_key
        The path of a key that the kind requires, where its absence is the fault.
    of_values
        Whether a rule on values is broken, which other cases of the same matrix may well keep.
    """

    problem: Problem
    unknown_key: Location | None = None
    suggestion: str = ""
    missing_key: Location | None = None
    of_values: bool = False


def check(model: type[M], tree: Node) -> tuple[M | None, list[Fault]]:
    """Validate a mapping; the model's instance is ``None`` where pydantic refuses it."""
    try:
        made = model.model_validate(tree.plain())
        return made, [Fault(problem) for problem in coerced(tree, made)]
    except ValidationError as error:
        errors = error.errors(include_url=False)
    except Exception as error:  # a plug-in's validators are foreign code: they may raise anything
        message = f"the parameters cannot be read: {type(error).__name__}: {error}"
        return None, [Fault(Problem(tree.at, message), of_values=True)]
    placed = _without_other_members([_place(error, tree) for error in errors])
    return None, _without_misspelt([_fault(each, model) for each in placed])


@dataclass(frozen=True, slots=True)
class _Placed:
    """An error of pydantic and its place in the case.

    Parameters
    ----------
    error
        As pydantic tells it.
    node, around, path
        The innermost value of the error's location that is written, the value that holds it, and
        the path to it.
    union, member
        If the location names a member of a union: the path to the union, and that name.
    alternatives
        What else the value could be, by other members of the union.
    """

    error: ErrorDetails
    node: Node
    around: Node
    path: Location
    union: Location | None = None
    member: str = ""
    alternatives: tuple[str, ...] = ()

    @property
    def due(self) -> str:
        """What the value must be, to follow "must be"."""
        return " or ".join(dict.fromkeys((due(self.error), *self.alternatives)))


def _place(error: ErrorDetails, tree: Node) -> _Placed:
    location = error["loc"]
    if error["type"] == "missing":
        location = location[:-1]
    placed = _Placed(error, tree, tree, ())
    for part in location:
        child = _child(placed.node, part)
        if child is not None:
            placed = replace(placed, node=child, around=placed.node, path=(*placed.path, part))
        elif placed.union is None:
            placed = replace(placed, union=placed.path, member=str(part))
    return placed


def _child(node: Node, part: str | int) -> Node | None:
    if isinstance(part, str):
        return (node.as_mapping() or {}).get(part)
    entries = node.value if isinstance(node.value, list) else []
    return entries[part] if part < len(entries) else None


def _without_other_members(errors: Iterable[_Placed]) -> list[_Placed]:
    """Keep, for each union, the errors of the member that was most likely meant.

    A plain union reports the errors of every member: a network written by its widths would be told
    that it is no network by depth and width as well.
    """
    kept: list[_Placed] = []
    unions: dict[Location, dict[str, list[_Placed]]] = {}
    for error in errors:
        if error.union is None:
            kept.append(error)
        else:
            members = unions.setdefault(error.union, {})
            members.setdefault(error.member, []).append(error)
    for union, members in unions.items():
        # A member whose very type is wrong ("must be a mapping") cannot have been meant, unless
        # that holds for all of them: then the value may be any.
        meant = [
            placed
            for placed in members.values()
            if not any(each.path == union and each.due for each in placed)
        ]
        if meant:
            closest = min(meant, key=_distance)
            kept.extend(closest)
        else:
            first, *others = (placed[0] for placed in members.values())
            kept.append(replace(first, alternatives=tuple(other.due for other in others)))
    return kept


def _distance(errors: list[_Placed]) -> tuple[int, int]:
    unknown_keys = sum(each.error["type"] == "extra_forbidden" for each in errors)
    return unknown_keys, len(errors)


def _without_misspelt(faults: list[Fault]) -> list[Fault]:
    """Leave out the keys that are missing only because they are misspelt."""
    suggested = {
        (*fault.unknown_key[:-1], fault.suggestion) for fault in faults if fault.unknown_key
    }
    return [fault for fault in faults if fault.missing_key not in suggested]


def _fault(placed: _Placed, model: type[BaseModel]) -> Fault:
    error, node, path = placed.error, placed.node, placed.path
    if error["type"] == "extra_forbidden":
        return _unknown_key(placed, model)
    if error["type"] in ("missing", "union_tag_not_found"):
        path = (*path, discriminator(error) or error["loc"][-1])
        return Fault(Problem(node.at, f"{_name(path)} is missing"), missing_key=path)
    if error["type"] == "union_tag_invalid":
        path = (*path, discriminator(error))
        node = _child(node, path[-1]) or node
    if placed.due:
        return Fault(Problem(node.at, f"{_name(path)} must be {placed.due}, not {given(error)}"))
    if error["type"] == "unknown_name":  # whose message says what the name is of
        return Fault(Problem(node.at, verbatim(error)))
    where = f"{_name(path)}: " if path else ""
    return Fault(Problem(node.at, f"{where}{verbatim(error)}"), of_values=True)


def _unknown_key(placed: _Placed, model: type[BaseModel]) -> Fault:
    *above, key = placed.error["loc"]
    known, exactly = known_keys(model, tuple(above), placed.around.as_mapping() or {})
    if not above:
        known |= {*RUN_SETTINGS, *IDENTITY}
    suggestion = next(iter(get_close_matches(str(key), sorted(known), n=1)), "")
    # Where none is near all would be offered, so these must be all.
    hint = did_you_mean(str(key), known) if suggestion or exactly else ""
    problem = Problem(placed.node.name_at, f"unknown key {key!r}{hint}")
    return Fault(problem, unknown_key=placed.path, suggestion=suggestion)


def _name(path: Location) -> str:
    """Write a path as in ``'network.widths[1]'``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return repr(text.removeprefix("."))
