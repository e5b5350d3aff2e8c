"""Case kinds by name, each made sure to be one."""

from __future__ import annotations

from typing import Any

from pcbench import registry
from pcbench.case import Case, CaseParameters


def load_kind(name: str) -> type[Case[Any]]:
    """Import the case kind of that name.

    Raises
    ------
    UnknownNameError
        If there is none.
    BrokenPluginError
        If it cannot be imported, or is not a case kind.
    """
    kind = registry.CASES.load(name)
    if not (isinstance(kind, type) and issubclass(kind, Case)):
        raise registry.BrokenPluginError(
            f"the case kind {name!r} is not a subclass of pcbench.case.Case"
        )
    parameters = getattr(kind, "Parameters", None)
    if not (isinstance(parameters, type) and issubclass(parameters, CaseParameters)):
        raise registry.BrokenPluginError(
            f"the case kind {name!r} has no model 'Parameters', a subclass of CaseParameters"
        )
    return kind
