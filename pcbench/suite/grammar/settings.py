"""The run settings of a case: what every kind understands beside its own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from pcbench import registry
from pcbench.suite.yaml.problems import Problem

if TYPE_CHECKING:
    from pcbench.suite.yaml.node import Node

DType = Literal["float32", "float64"]
DTYPES = get_args(DType)

RUN_SETTINGS = ("seed", "dtype", "backend", "device")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a case is run.

    Parameters
    ----------
    seed
        At least 0; all randomness of the case derives from it and from the case's identifier.
    dtype
        Precision of the backend.
    backend
        A name in the registry of backends.
    device
        ``cpu``, ``cuda``, or whatever else the backend understands.
    """

    seed: int = 0
    dtype: DType = "float64"
    backend: str = "torch"
    device: str = "cpu"


def read_settings(case: Node, problems: list[Problem]) -> RunSettings:
    """Read the run settings of a case; one that is not valid is noted and left at its default."""
    given: dict[str, Any] = {}
    for key, node in (case.as_mapping() or {}).items():
        if key not in RUN_SETTINGS:
            continue
        objection = _objection(key, node)
        if objection:
            problems.append(Problem(node.at, objection))
        else:
            given[key] = node.value
    return RunSettings(**given)


def _objection(key: str, node: Node) -> str:
    """What is wrong with a run setting; empty if nothing is."""
    value = node.value
    if key == "seed":
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return ""
        due = "an integer of at least 0"
    elif key == "dtype":
        if value in DTYPES:
            return ""
        due = " or ".join(map(repr, DTYPES))
    elif not (isinstance(value, str) and value):
        due = f"the name of a {key}"
    elif key == "backend" and value not in (known := registry.BACKENDS.names()):
        return f"unknown backend {value!r}{registry.did_you_mean(value, known)}"
    else:
        return ""
    return f"{key!r} must be {due}, not {node.shown()}"
