"""The words of ``pcbench show``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pcbench.errors import UsageError
from pcbench.registry import CASES, did_you_mean
from pcbench.suite import QUICK, PlannedCase, load_suites, shipped_suites
from pcbench.suite.fields import fields_by_key
from pcbench.suite.kinds import load_kind


def explain_kind(kind: str) -> str:
    """Say what a case kind asks and which parameters it takes."""
    case = load_kind(kind)
    fields = "\n".join(_fields(case.Parameters, indent="  "))
    return f"{kind}: {case.description}\n\nparameters\n{fields}"


def explain_case(
    case_id: str, suites: Sequence[str] | None, size: str, settings: Sequence[str]
) -> str:
    """Say what a concrete case asks, with its parameters resolved.

    Raises
    ------
    UsageError
        If no suite has a case of that identifier, where the message offers the nearest; or if no
        case has the size.
    """
    known: dict[str, tuple[str, PlannedCase]] = {}
    for suite in load_suites(suites or shipped_suites(), size=size, overrides=settings):
        for case in suite.cases:
            known.setdefault(case.id, (suite.name, case))
    if case_id not in known:
        # An id without its matrix values names a family: offer its members.
        family = [name for name in known if name.startswith(f"{case_id}[")]
        hint = f"; there is {', '.join(family)}" if family else _nearest(case_id, known)
        raise UsageError(f"no suite has a case {case_id!r}{hint}")
    suite_name, case = known[case_id]
    settled = {
        "kind": case.kind,
        **({"figure": case.figure} if case.figure else {}),
        **case.parameters.model_dump(mode="json", exclude_none=True),
        "seed": case.seed,
        "dtype": case.dtype,
        "backend": case.backend,
        "device": case.device,
    }
    text = yaml.safe_dump(settled, sort_keys=False, allow_unicode=True, default_flow_style=None)
    at = f", size {size}" if size != QUICK else ""
    return f"{case.id} (suite {suite_name}{at})\n{case.case.description}\n\n{text.rstrip()}"


def _nearest(name: str, cases: Iterable[str]) -> str:
    # The name of a kind would have done as well.
    return did_you_mean(name, [*cases, *CASES.names()]) or "; 'pcbench list SUITE' shows its cases"


def _fields(
    model: type[BaseModel], indent: str, above: tuple[type[BaseModel], ...] = ()
) -> Iterator[str]:
    if model in above:  # a model that contains itself
        yield f"{indent}... as above"
        return
    for name, field in fields_by_key(model).items():
        inner = list(_models(field.annotation))
        default = "" if inner or field.default is PydanticUndefined else f" = {field.default}"
        required = " (required)" if field.is_required() else ""
        described = f": {field.description}" if field.description else ""
        yield f"{indent}{name}{default}{required}{described}"
        for choice in inner:
            if len(inner) > 1:
                yield f"{indent}  {_summary(choice)}"
            deeper = indent + ("    " if len(inner) > 1 else "  ")
            yield from _fields(choice, deeper, (*above, model))


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    """Return the models that a field can hold: one, or the members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or model.__name__).partition("\n")[0]
