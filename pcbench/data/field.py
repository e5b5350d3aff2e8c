"""The type of a case's ``data`` parameter: any dataset's parameters, told apart by their name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, GetJsonSchemaHandler, SerializeAsAny, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from pcbench.data.base import DatasetParameters
from pcbench.data.loading import dataset_class
from pcbench.registry import DATASETS, BrokenPluginError, UnknownNameError


def _by_name(value: object) -> object:
    """Validate a mapping, or a name alone, with the parameter model of the dataset it names.

    Whatever is neither goes on to pydantic, which accepts parameters that are already built.
    """
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        return value
    if "name" not in value:
        raise _at_name("missing", value)
    name = value["name"]
    if not isinstance(name, str):
        raise _at_name("string_type", name)
    try:
        parameters = dataset_class(name).Parameters
    except (UnknownNameError, BrokenPluginError) as error:
        # As a value, not as the template: a name may hold braces, which a template would fill in.
        raise _at_name(
            PydanticCustomError("dataset_name", "{reason}", {"reason": str(error)}), name
        ) from error
    return parameters.model_validate(dict(value))


def _at_name(error: str | PydanticCustomError, value: object) -> ValidationError:
    """Return an error whose location within the data is ``name``."""
    details = InitErrorDetails(type=error, loc=("name",), input=value)
    return ValidationError.from_exception_data("data", [details])


class _SchemaOfAll:
    """Describes the field as a dataset's name or the parameters of any one dataset."""

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        variants = [handler(schema) for schema in _schemas()]
        if handler.mode == "validation":  # what is written out always has its parameters
            variants.insert(0, {"type": "string", "enum": DATASETS.names()})
        return {"anyOf": variants}


def _schemas() -> Iterator[CoreSchema]:
    for name in DATASETS.names():
        with suppress(BrokenPluginError):  # its breakage is told to whoever names it
            yield dataset_class(name).Parameters.__pydantic_core_schema__


DataField: TypeAlias = Annotated[
    SerializeAsAny[DatasetParameters], BeforeValidator(_by_name), _SchemaOfAll()
]
"""Accepts ``{name: mnist1d, samples: 64}``, ``mnist1d``, or a dataset's built parameters."""
