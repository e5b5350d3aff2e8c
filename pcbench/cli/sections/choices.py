"""The choices of a parameter: models, and words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pcbench.contract import Engine, engines
from pcbench.data import dataset_class
from pcbench.data.base import DatasetParameters
from pcbench.named import OneOf
from pcbench.registry import BACKENDS, CASES, DATASETS, BrokenPluginError
from pcbench.suite.grammar.fields import fields_by_key
from pcbench.suite.kinds import load_kind

Model = type[BaseModel]


def parameter_choices() -> Iterator[tuple[str, str, Model | None]]:
    """Yield every choice: its name, what it is, and its parameters where it has any.

    Case kinds that cannot be imported are passed over; 'pcbench doctor' names them.
    """
    for backend in BACKENDS.names():
        yield backend, f"{backend}: a backend; 'pcbench backends' tells what it offers", None
    seen: set[Model] = set()
    for kind in CASES.names():
        try:
            yield from _choices_in(load_kind(kind).Parameters, seen)
        except BrokenPluginError:
            continue


def models_in(annotation: Any) -> list[Model]:
    """Return the models that a field can hold: one, or the members of a union, or all datasets."""
    if annotation is DatasetParameters:
        return list(_datasets().values())
    if annotation is Engine:
        return [settings for _, settings in engines()]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def values_of(field: FieldInfo) -> list[str]:
    """Return the words among which a field chooses; empty if it does not."""
    return [value for part in (field.annotation, *field.metadata) for value in _values_in(part)]


def _values_in(annotation: Any) -> list[str]:
    if isinstance(annotation, OneOf):
        return annotation.registry.names()
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation) if isinstance(value, str)]
    return [value for part in get_args(annotation) for value in _values_in(part)]


def summary(model: Model) -> str:
    """Say in a line what a model is for."""
    for name, parameters in _datasets().items():
        if model is parameters:
            return str(dataset_class(name).description)
    return (model.__doc__ or model.__name__).partition("\n")[0]


def _datasets() -> dict[str, Model]:
    found: dict[str, Model] = {}
    for name in DATASETS.names():
        try:
            found[name] = dataset_class(name).Parameters
        except BrokenPluginError:  # it is told where the plug-in is named
            continue
    return found


def _choices_in(model: Model, seen: set[Model]) -> Iterator[tuple[str, str, Model | None]]:
    if model in seen:
        return
    seen.add(model)
    for key, field in fields_by_key(model).items():
        values = values_of(field)
        if len(values) == 1 and get_origin(field.annotation) is Literal:
            yield values[0], f"{values[0]}: {summary(model)}", model
        elif len(values) > 1 and field.description:
            for value in values:
                others = ", ".join(each for each in values if each != value)
                text = f"{value}: a choice of {key!r}, beside {others}\n{field.description}"
                yield value, text, None
        for inner in models_in(field.annotation):
            yield from _choices_in(inner, seen)
