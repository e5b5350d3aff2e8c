"""Digests of what decides the numbers of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pcbench.data import DatasetParameters, Places, dataset_class
from pcbench.networks import Saved
from pcbench.registry import BACKENDS
from pcbench.report import Environment
from pcbench.runner.case import plain_parameters
from pcbench.suite import PlannedCase, Suite

WHAT = {
    "cases": "the cases or their parameters",
    "code": "the code of pcbench or of a plug-in",
    "environment": "the machine, Python, its libraries or --threads",
    "data": "the data",
}
"""What each digest is of, in the words of a message."""


def fingerprints(
    suites: Sequence[Suite], environment: Environment, places: Places, threads: int | None
) -> dict[str, str]:
    """Return a digest of each of :data:`WHAT`; ``threads`` are those of a case, if known."""
    cases = [
        {
            "suite": suite.name,
            "id": case.id,
            "kind": case.kind,
            "parameters": plain_parameters(case),
            "run": [case.seed, case.dtype, case.backend, case.device, case.randomness],
            "expect": case.expected_failure,
            "tolerances": {name: vars(by) for name, by in case.tolerance_factor.items()},
        }
        for suite in suites
        for case in suite.cases
    ]
    where = environment.model_dump(include={"python", "platform", "processor", "packages"})
    where |= {"backends": environment.backends, "threads": threads}
    modules = {name for suite in suites for case in suite.cases for name in _modules(case)}
    homes = {name.partition(".")[0] for name in ("pcbench", *modules)}
    data = dict(each for suite in suites for case in suite.cases for each in _data(case, places))
    return {
        "cases": _digest(json.dumps(cases, default=str).encode()),
        "code": _digest(*_read({path: file for home in homes for path, file in _sources(home)})),
        "environment": _digest(json.dumps(where, sort_keys=True).encode()),
        "data": _digest(*_read(data)),
    }


def differing(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Say what differs between the digests of two runs."""
    return [words for key, words in WHAT.items() if before.get(key) != now.get(key)]


def _modules(case: PlannedCase) -> Iterator[str]:
    """Yield the modules whose code a case runs, by their names: its kind's and its backend's."""
    yield case.case.__module__
    yield BACKENDS.module(case.backend)


def _sources(home: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of a package, or of a module in none, by their places in it."""
    with suppress(ImportError, ValueError):  # one that only a notebook has
        found = find_spec(home)
        folders = [Path(each) for each in (found and found.submodule_search_locations) or ()]
        for folder in folders:
            for file in folder.rglob("*.py"):
                yield f"{home}/{file.relative_to(folder)}", file
        if found and found.origin and not folders and Path(found.origin).is_file():
            yield home, Path(found.origin)


def _data(case: PlannedCase, places: Places) -> Iterator[tuple[str, Path]]:
    """Yield the files that a case reads, by what they are: of datasets, and saved weights."""
    for part in _parts(case.parameters):
        if isinstance(part, DatasetParameters):
            for what, file in dataset_class(part.name).files(places).items():
                yield f"{part.name} {what}", file
        elif isinstance(path := getattr(part, "path", None), str):
            yield f"path {path}", part.file if isinstance(part, Saved) else Path(path)


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
        if not path.is_file():  # opening a pipe, say, would wait for ever
            continue
        with suppress(OSError), path.open("rb") as file:  # a case that needs it says what is wrong
            yield hashlib.file_digest(file, "sha256").digest()


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()[:16]
