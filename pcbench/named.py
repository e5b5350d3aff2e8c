"""Parameters whose choices are the entries of a registry, which plug-ins add to.

What there is to choose from is looked up whenever a value is validated or a schema is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import (
    CoreSchema,
    InitErrorDetails,
    PydanticCustomError,
    PydanticKnownError,
    core_schema,
)

from pcbench.registry import BrokenPluginError, Registry, UnknownNameError


@dataclass(frozen=True, slots=True)
class OneOf:
    """Annotates a parameter that takes the name of a registry's entry, as a ``Literal`` would."""

    registry: Registry

    def _checked(self, value: object) -> object:
        names = self.registry.names()
        if value in names:
            return value
        *others, last = map(repr, names)
        raise PydanticKnownError(
            "literal_error", {"expected": " or ".join([", ".join(others), last])}
        )

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "enum": self.registry.names()}


@dataclass(frozen=True, slots=True)
class ModelOf:
    """Annotates a parameter that takes the settings of any one entry, told apart by its name."""

    registry: Registry  # what there is to choose from
    model: Callable[[str], type[BaseModel]]  # returns the settings' model of an entry, by its name
    key: str = "name"  # under which settings have the name
    bare: bool = False  # whether a name alone stands for settings that are left at their defaults

    def _validated(self, value: object) -> object:
        """Validate a mapping, or a name, with the model that it names.

        Whatever is neither goes on to pydantic, which accepts settings that are already built.
        """
        if self.bare and isinstance(value, str):
            value = {self.key: value}
        if not isinstance(value, Mapping):
            return value
        if self.key not in value:
            raise self._at_key("missing", value)
        name = value[self.key]
        if not isinstance(name, str):
            raise self._at_key("string_type", name)
        try:
            model = self.model(name)
        except (UnknownNameError, BrokenPluginError) as error:
            # As a value, not as the template: a name may hold braces, which it would fill in.
            unknown = PydanticCustomError("unknown_name", "{reason}", {"reason": str(error)})
            raise self._at_key(unknown, name) from error
        return model.model_validate(dict(value))

    def _at_key(self, error: str | PydanticCustomError, value: object) -> ValidationError:
        details = InitErrorDetails(type=error, loc=(self.key,), input=value)
        return ValidationError.from_exception_data(self.registry.noun, [details])

    def models(self) -> Iterator[type[BaseModel]]:
        """Yield the models of all entries but broken ones, whose breakage is told when named."""
        for name in self.registry.names():
            with suppress(BrokenPluginError):
                yield self.model(name)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._validated, handler(source))

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        variants = [handler(model.__pydantic_core_schema__) for model in self.models()]
        if self.bare and handler.mode == "validation":  # what is written out has its settings
            variants.insert(0, {"type": "string", "enum": self.registry.names()})
        return {"anyOf": variants}
