"""What ``pcbench show`` prints: cases, kinds, and the choices of a parameter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from pcbench.data import dataset_class
from pcbench.errors import UsageError
from pcbench.named import ModelOf, OneOf
from pcbench.registry import BACKENDS, CASES, DATASETS, BrokenPluginError, did_you_mean
from pcbench.suite import QUICK, PlannedCase, load_suites, shipped_suites
from pcbench.suite.grammar.parameters import fields_by_key
from pcbench.suite.grammar.settings import load_kind
from pcbench.suite.yaml.node import write_scalar

Model = type[BaseModel]


def models_in(*parts: Any) -> list[Model]:
    """Return the models that an annotation and its metadata allow."""
    for part in parts:
        if isinstance(part, ModelOf):
            return list(part.models())
    found: list[Model] = []
    for part in parts:
        model = isinstance(part, type) and issubclass(part, BaseModel)
        found.extend([part] if model else models_in(*get_args(part)))
    return found


def values_in(*parts: Any) -> list[str]:
    """Return the words among which an annotation and its metadata let choose; empty if none."""
    found: list[str] = []
    for part in parts:
        if isinstance(part, OneOf):
            found += part.registry.names()
        elif get_origin(part) is Literal:
            found += (value for value in get_args(part) if isinstance(value, str))
        else:
            found += values_in(*get_args(part))
    return found


def summary(model: Model) -> str:
    """Say in a line what a model is for."""
    for name in DATASETS.names():
        with suppress(BrokenPluginError):  # it is told where the plug-in is named
            if dataset_class(name).Parameters is model:
                return str(dataset_class(name).description)
    return (model.__doc__ or model.__name__).partition("\n")[0]


def _choices_in(model: Model, seen: set[Model]) -> Iterator[tuple[str, str, Model | None]]:
    if model in seen:
        return
    seen.add(model)
    for key, field in fields_by_key(model).items():
        values = values_in(field.annotation, *field.metadata)
        if len(values) == 1 and get_origin(field.annotation) is Literal:
            yield values[0], f"{values[0]}: {summary(model)}", model
        elif len(values) > 1 and field.description:
            for value in values:
                others = ", ".join(each for each in values if each != value)
                text = f"{value}: a choice of {key!r}, beside {others}\n{field.description}"
                yield value, text, None
        for inner in models_in(field.annotation, *field.metadata):
            yield from _choices_in(inner, seen)


def explain_kind(kind: str) -> str:
    """Say what a case kind asks and which parameters it takes."""
    case = load_kind(kind)
    fields = "\n".join(_fields(case.Parameters, indent="  "))
    return f"{kind}: {case.description}\n\nparameters\n{fields}"


def explain_choice(name: str) -> str:
    """Say what a value is that parameters take, such as a dataset; empty if it is none."""
    return "\n\n".join(choices().get(name, []))


def explain_case(
    case_id: str, suites: Sequence[str] | None, size: str, settings: Sequence[str]
) -> str:
    """Say what a concrete case asks, with its parameters resolved."""
    known: dict[str, tuple[str, PlannedCase]] = {}
    for suite in load_suites(suites or shipped_suites(), size=size, overrides=settings):
        for case in suite.cases:
            known.setdefault(case.id, (suite.name, case))
    if case_id in known:
        return _resolved(*known[case_id], size)
    family = [name for name in known if name.startswith(f"{case_id}[")]
    if not family:
        # The name of a kind or a choice would have done as well.
        hint = did_you_mean(case_id, [*known, *CASES.names(), *choices()])
        hint = hint or "; 'pcbench list SUITE' shows its cases"
        raise UsageError(f"no suite has a case {case_id!r}{hint}")
    members = "\n".join(f"  {name}" for name in family)
    first = _resolved(*known[family[0]], size)
    return f"{case_id} stands for {len(family)} cases\n{members}\n\nthe first of them\n\n{first}"


def _resolved(suite: str, case: PlannedCase, size: str) -> str:
    factors = {name: by.model_dump() for name, by in case.tolerance_factor.items()}
    settled = {
        "kind": case.kind,
        **({"figure": case.figure} if case.figure else {}),
        **case.parameters.model_dump(mode="json", exclude_none=True),
        "seed": case.seed,
        "dtype": case.dtype,
        "backend": case.backend,
        "device": case.device,
        **({"tolerance_factor": factors} if factors else {}),
    }
    text = yaml.safe_dump(settled, sort_keys=False, allow_unicode=True, default_flow_style=None)
    at = f", size {size}" if size != QUICK else ""
    return f"{case.id} (suite {suite}{at})\n{case.case.description}\n\n{text.rstrip()}"


@cache
def choices() -> dict[str, list[str]]:
    """Say of every choice what it is, by its name: of a model also the parameters.

    Case kinds that cannot be imported are passed over; 'pcbench doctor' names them.
    """
    backend = "a backend; 'pcbench backends' tells what it offers"
    told = {name: [f"{name}: {backend}"] for name in BACKENDS.names()}
    seen: set[Model] = set()
    for kind in CASES.names():
        with suppress(BrokenPluginError):
            for name, heading, model in _choices_in(load_kind(kind).Parameters, seen):
                fields = list(_fields(model, indent="  ")) if model else []
                text = "\n".join([heading, *(["", "parameters", *fields] if fields else [])])
                if text not in told.setdefault(name, []):
                    told[name].append(text)
    return told


def _fields(
    model: type[BaseModel], indent: str, above: tuple[type[BaseModel], ...] = ()
) -> Iterator[str]:
    if model in above:  # a model that contains itself
        yield f"{indent}... as above"
        return
    for name, field in fields_by_key(model).items():
        inner = models_in(field.annotation, *field.metadata)
        values = values_in(field.annotation, *field.metadata)
        fixed = len(values) == 1 and get_origin(field.annotation) is Literal
        if fixed:
            default = f" = {values[0]}"
        elif inner or field.default is PydanticUndefined:
            default = " (required)" if field.is_required() else ""
        else:
            default = f" = {_written(field.default)}"
        if type(None) in get_args(field.annotation):
            values = values and [*values, "null"]
        one_of = f" (one of {', '.join(values)})" if values and not fixed else ""
        described = f": {field.description}" if field.description else ""
        yield f"{indent}{name}{default}{one_of}{described}"
        for choice in inner:
            if len(inner) > 1:
                yield f"{indent}  {summary(choice)}"
            deeper = indent + ("    " if len(inner) > 1 else "  ")
            yield from _fields(choice, deeper, (*above, model))


def _written(default: object) -> str:
    """Write a default as a suite does."""
    plain = to_jsonable_python(default)
    if isinstance(plain, dict | list):
        return json.dumps(plain, ensure_ascii=False)  # which is YAML
    return write_scalar(plain)
