"""Digests of what decides the numbers of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pcbench.data import DatasetParameters, Places, dataset_class
from pcbench.report import Environment
from pcbench.runner.case import plain_parameters
from pcbench.suite import Suite

WHAT = {
    "cases": "the cases or their parameters",
    "code": "pcbench's code",
    "environment": "the machine, Python or its libraries",
    "data": "the data",
}
"""What each digest is of, in the words of a message."""


def fingerprints(
    suites: Sequence[Suite], environment: Environment, places: Places
) -> dict[str, str]:
    """Return a digest of each of :data:`WHAT`."""
    cases = [
        {
            "suite": suite.name,
            "id": case.id,
            "kind": case.kind,
            "parameters": plain_parameters(case),
            "run": [case.seed, case.dtype, case.backend, case.device],
        }
        for suite in suites
        for case in suite.cases
    ]
    where = environment.model_dump(include={"python", "platform", "processor", "packages"})
    where["backends"] = environment.backends
    package = Path(__file__).parents[1]
    files = {file for suite in suites for file in _files(suite, places)}
    return {
        "cases": _digest(json.dumps(cases, default=str).encode()),
        "code": _digest(*_read({str(f.relative_to(package)): f for f in package.rglob("*.py")})),
        "environment": _digest(json.dumps(where, sort_keys=True).encode()),
        "data": _digest(*_read({file.name: file for file in files})),
    }


def differing(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Say what differs between the digests of two runs."""
    return [words for key, words in WHAT.items() if before.get(key) != now.get(key)]


def _files(suite: Suite, places: Places) -> Iterator[Path]:
    """Yield the files that a suite's cases read: of its datasets and of saved weights."""
    for case in suite.cases:
        for part in _parts(case.parameters):
            if isinstance(part, DatasetParameters):
                yield from filter(None, dataset_class(part.name).locate(places).values())
            elif isinstance(path := getattr(part, "path", None), str) and Path(path).is_file():
                yield Path(path)


def _parts(value: Any) -> Iterator[BaseModel]:
    """Yield a model and all within it."""
    if isinstance(value, BaseModel):
        yield value
        value = vars(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _parts(each)


def _read(files: Mapping[str, Path]) -> Iterator[bytes]:
    for name, path in sorted(files.items()):
        yield name.encode("utf-8", "surrogateescape")
        with suppress(OSError), path.open("rb") as file:  # a case that needs it says what is wrong
            yield hashlib.file_digest(file, "sha256").digest()


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()[:16]
