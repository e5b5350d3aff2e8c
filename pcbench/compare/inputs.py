"""The inputs of a case: numbers are compared only where these are the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from pcbench.report.model import CaseResult


def changed_inputs(base: CaseResult, new: CaseResult) -> dict[str, tuple[JsonValue, JsonValue]]:
    """Return the resolved inputs that differ: ``{"parameters.network.width": (300, 100)}``.

    Kind, seed, dtype and parameters determine the question. The backend and its device do not:
    their answers to the same question are what is compared. A missing parameter counts as null, so
    that a new optional one changes nothing.
    """
    old, now = dict(_leaves(_inputs(base))), dict(_leaves(_inputs(new)))
    both = {path: (old.get(path), now.get(path)) for path in {**old, **now}}
    # As JSON, in which true is not 1 and a NaN equals itself.
    return {
        path: (was, is_now)
        for path, (was, is_now) in both.items()
        if json.dumps(was) != json.dumps(is_now)
    }


def _inputs(case: CaseResult) -> JsonValue:
    return {
        "kind": case.kind,
        "seed": case.seed,
        "dtype": case.dtype,
        "parameters": case.parameters,
    }


def _leaves(value: JsonValue, path: str = "") -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path, value
