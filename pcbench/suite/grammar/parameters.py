"""A case's parameters, or its run settings, against their model.

Pydantic says what is wrong at a location of the *model*; the author of a suite needs the place in
the *file*. A location is the path of a value, but with the names of union members in between
(``data.toy_gaussian.samples``), and it can go on beyond what is written.
"""

from __future__ import annotations

import pathlib
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from pcbench.registry import did_you_mean
from pcbench.suite.expand import IDENTITY
from pcbench.suite.grammar.settings import RUN_SETTINGS
from pcbench.suite.yaml.node import shown
from pcbench.suite.yaml.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from pcbench.suite.yaml.node import Node, Path


Model = type[BaseModel]
Location = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


def fields_by_key(model: Model) -> dict[str, FieldInfo]:
    """Return a model's fields by the keys that a suite writes."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def known_keys(model: Model, location: Location, written: dict[str, Node]) -> tuple[set[str], bool]:
    """Return the keys that may be written at a location, and whether these are exactly they.

    They are not exactly known where a union, or a base class for which its subclasses may stand in,
    leaves several models possible, and what is written there does not choose one by its tag.
    """
    models = _models_at(model, location)
    models = {each for each in models if _is_chosen(each, written)} or models
    return {key for each in models for key in fields_by_key(each)}, len(models) == 1


def known_paths(model: Model, _above: tuple[Model, ...] = ()) -> Iterator[Path]:
    """Yield the paths to all parameters, parents before their children."""
    if model in _above:  # a model that contains itself
        return
    for key, field in fields_by_key(model).items():
        yield (key,)
        for child in _models_in(field.annotation):
            yield from ((key, *path) for path in known_paths(child, (*_above, model)))


def _models_at(model: Model, location: Location) -> set[Model]:
    models = {model}
    for part in location:
        fields = [fields_by_key(each).get(str(part)) for each in models]
        children = {child for field in fields if field for child in _models_in(field.annotation)}
        if any(fields):
            models = children
        else:  # an index, or the member that pydantic chose of a union
            models = {each for each in models if part in _member_names(each)} or models
    return models


def _models_in(annotation: object) -> Iterator[Model]:
    """Yield the models within an annotation, and their subclasses, which may stand in for them."""
    for argument in get_args(annotation):
        yield from _models_in(argument)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for subclass in annotation.__subclasses__():
            yield from _models_in(subclass)


def _member_names(model: Model) -> set[object]:
    """Return the names by which a location refers to a member of a union: its class or its tag."""
    return {model.__name__, *(tag for tags in _tags(model).values() for tag in tags)}


def _is_chosen(model: Model, written: dict[str, Node]) -> bool:
    """Whether a mapping has a model's tags, such as the ``name: mnist1d`` of a dataset."""
    tags = {key: values for key, values in _tags(model).items() if key in written}
    return bool(tags) and all(written[key].value in values for key, values in tags.items())


def _tags(model: Model) -> dict[str, tuple[object, ...]]:
    return {
        key: get_args(field.annotation)
        for key, field in fields_by_key(model).items()
        if get_origin(field.annotation) is Literal
    }


# What a value must be, by pydantic's type of error; the fields are those of the error's context.
_DUE = {
    error: due
    for due, errors in {
        "an integer": "int_type int_parsing int_from_float",
        "a smaller integer": "int_parsing_size",
        "a number": "float_type float_parsing",
        "a finite number": "finite_number",
        "true or false": "bool_type bool_parsing",
        "a string": "string_type",
        "a string of at least {min_length} characters": "string_too_short",
        "a string of at most {max_length} characters": "string_too_long",
        "a string that matches {pattern}": "string_pattern_mismatch",
        "{expected}": "literal_error enum",
        "null": "none_required",
        "greater than {gt}": "greater_than",
        "at least {ge}": "greater_than_equal",
        "less than {lt}": "less_than",
        "at most {le}": "less_than_equal",
        "a multiple of {multiple_of}": "multiple_of",
        "a list": "list_type tuple_type set_type frozen_set_type",
        "a mapping": "dict_type mapping_type model_type model_attributes_type dataclass_type",
        "of length {min_length} or more": "too_short",
        "of length {max_length} or less": "too_long",
        "one of {expected_tags}": "union_tag_invalid",
        "{due}": "due",  # a field that says itself what it must be
    }.items()
    for error in errors.split()
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a case's parameters."""

    problem: Problem  # the place in the file, and the sentence
    # The path of a key that the kind does not have, where that is the fault.
    unknown_key: Location | None = None
    suggestion: str = ""  # the key that was probably meant instead
    # The path of a key that the kind requires, where its absence is the fault.
    missing_key: Location | None = None
    # Whether a rule on values is broken, which other cases of the same matrix may well keep.
    of_values: bool = False


def check(model: type[M], tree: Node) -> tuple[M | None, list[Fault]]:
    """Validate a mapping; the model's instance is ``None`` where pydantic refuses it."""
    try:
        made = model.model_validate(tree.plain(), context=_folders(tree))
        return made, list(_coerced(tree, made))
    except ValidationError as error:
        errors = error.errors(include_url=False)
    except Exception as error:  # a plug-in's validators are foreign code: they may raise anything
        message = f"the parameters cannot be read: {type(error).__name__}: {error}"
        return None, [Fault(Problem(tree.at, message), of_values=True)]
    placed = _without_other_members([_place(error, tree) for error in errors])
    return None, _without_misspelt([_fault(each, model) for each in placed])


def _folders(tree: Node) -> dict[str, pathlib.Path]:
    """Return the folders of the suites in which paths are written, by the paths."""
    written = (node for keys, node in tree.entries() if keys[-1] == "path")
    return {
        node.value: pathlib.Path(node.at.file).parent.absolute()
        for node in written
        if isinstance(node.value, str) and node.at.line
    }


@dataclass(frozen=True, slots=True)
class _Placed:
    """An error of pydantic and its place in the case."""

    error: ErrorDetails  # as pydantic tells it
    # The innermost value of the error's location that is written, the value that holds it, and
    # the path to it.
    node: Node
    around: Node
    path: Location
    # If the location names a member of a union: the path to the union, and that name.
    union: Location | None = None
    member: str = ""
    # What else the value could be, by other members of the union.
    alternatives: tuple[str, ...] = ()

    @property
    def is_unknown(self) -> bool:
        """Whether it is about a key that is unknown."""
        return self.error["type"] == "extra_forbidden"

    @property
    def due(self) -> str:
        """What the value must be, to follow "must be"."""
        return " or ".join(dict.fromkeys((_due(self.error), *self.alternatives)))


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
    """Keep, of each union, only the errors of the member that was most likely meant.

    A plain union reports the errors of every member: a network written by its widths would be told
    that it is no network by depth and width as well.
    """
    kept: list[_Placed] = []
    unions: dict[Location, dict[str, list[_Placed]]] = {}
    for error in errors:
        if error.union is None:
            kept.append(error)
        else:
            unions.setdefault(error.union, {}).setdefault(error.member, []).append(error)
    for union, members in unions.items():
        # A member whose very type is wrong ("must be a mapping") cannot have been meant, unless
        # that holds for all of them: then the value may be any.
        meant = [
            each
            for each in members.values()
            if not any(one.path == union and one.due for one in each)
        ]
        if meant:
            closest = min(meant, key=lambda each: (sum(one.is_unknown for one in each), len(each)))
            kept.extend(closest)
        else:
            first, *others = (each[0] for each in members.values())
            kept.append(replace(first, alternatives=tuple(other.due for other in others)))
    return kept


def _without_misspelt(faults: list[Fault]) -> list[Fault]:
    """Leave out the keys that are missing only because they are misspelt."""
    suggested = {
        (*fault.unknown_key[:-1], fault.suggestion) for fault in faults if fault.unknown_key
    }
    return [fault for fault in faults if fault.missing_key not in suggested]


def _fault(placed: _Placed, model: type[BaseModel]) -> Fault:
    error, node, path = placed.error, placed.node, placed.path
    if placed.is_unknown:
        return _unknown_key(placed, model)
    if error["type"] in ("missing", "union_tag_not_found"):
        path = (*path, _tag(error) or error["loc"][-1])
        return Fault(Problem(node.at, f"{_name(path)} is missing"), missing_key=path)
    if error["type"] == "union_tag_invalid":
        path = (*path, _tag(error))
        node = _child(node, path[-1]) or node
    if placed.due:
        return Fault(Problem(node.at, f"{_name(path)} must be {placed.due}, not {_given(error)}"))
    if error["type"] == "unknown_name":  # whose message says what the name is of
        return Fault(Problem(node.at, _verbatim(error)))
    where = f"{_name(path)}: " if path else ""
    return Fault(Problem(node.at, f"{where}{_verbatim(error)}"), of_values=True)


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


def _due(error: ErrorDetails) -> str:
    """Say what the value must be, to follow "must be"; empty where pydantic cannot tell."""
    context = {
        key: f"{value:g}" if isinstance(value, float) else value
        for key, value in error.get("ctx", {}).items()
    }
    return _DUE.get(error["type"], "").format_map(context)


def _given(error: ErrorDetails) -> str:
    """Say what the value is, to follow "not"."""
    context = error.get("ctx", {})
    if "actual_length" in context:
        return str(context["actual_length"])
    value = error["input"]
    hint = ""
    if error["type"].startswith("float") and isinstance(value, str):
        number = value.strip()
        if re.fullmatch(r"[-+]?\d+,\d+", number):
            hint = f"; the decimal point is a '.': {number.replace(',', '.')}"
    return repr(context["tag"]) if "tag" in context else f"{shown(value)}{hint}"


def _tag(error: ErrorDetails) -> str:
    """Return the key by whose value a mapping's type is chosen, for errors about that key."""
    return str(error.get("ctx", {}).get("discriminator", "")).strip("'")


def _verbatim(error: ErrorDetails) -> str:
    """Return the error's own message: for a rule that a validator states in its own words."""
    return str(error.get("ctx", {}).get("error") or error["msg"])


def _coerced(node: Node, value: object, path: Location = ()) -> Iterator[Fault]:
    """Yield a fault for every number that is not written as one, but that pydantic made into one.

    It takes ``true`` for 1 and ``"64"`` for 64. In a suite either is a slip: the schema refuses it,
    and a width of ``true`` means nothing. A model may convert other values as it likes. Pydantic's
    strict mode is no help: it also refuses a list for a tuple, behind any validator of the model.
    """
    if isinstance(node.value, dict):
        known = value if isinstance(value, dict) else {}
        if isinstance(value, BaseModel):
            fields = type(value).model_fields.items()
            known = {field.alias or name: getattr(value, name) for name, field in fields}
        for key, child in node.value.items():
            yield from _coerced(child, known.get(key), (*path, key))
    elif isinstance(node.value, list) and isinstance(value, list | tuple):
        for index, (child, entry) in enumerate(zip(node.value, value, strict=False)):
            yield from _coerced(child, entry, (*path, index))
    elif isinstance(node.value, str | bool) and type(value) in (int, float):
        with suppress(ValueError):  # of a string that the model itself made into a number
            if float(node.value) == value:
                due = "an integer" if isinstance(value, int) else "a number"
                yield Fault(Problem(node.at, f"{_name(path)} must be {due}, not {node.shown()}"))
