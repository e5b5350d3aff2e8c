"""What a parameter model knows: its keys at a location, and the paths to all of its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from pcbench.suite.yaml.node import Node, Path

Model = type[BaseModel]


def fields_by_key(model: Model) -> dict[str, FieldInfo]:
    """Return a model's fields by the keys that a suite writes."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def known_keys(
    model: Model, location: tuple[str | int, ...], written: dict[str, Node]
) -> tuple[set[str], bool]:
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


def _models_at(model: Model, location: tuple[str | int, ...]) -> set[Model]:
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
    fields = fields_by_key(model).items()
    return {
        key: get_args(field.annotation)
        for key, field in fields
        if get_origin(field.annotation) is Literal
    }
