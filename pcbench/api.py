"""pcbench from Python: run a suite, get the report as an object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pcbench.backends.base import DType
from pcbench.report import Report
from pcbench.runner import Observer, run_suites
from pcbench.suite import QUICK, load_suites


def run(
    *suites: str | Path,
    size: str = QUICK,
    backend: str | None = None,
    device: str | None = None,
    dtype: DType | None = None,
    seed: int | None = None,
    select: str | None = None,
    settings: Mapping[str, object] | Sequence[str] = (),
    observer: Observer | None = None,
) -> Report:
    """Run suites and return the report, the same that ``pcbench run --json`` writes.

    Parameters
    ----------
    suites
        Paths, or names of shipped suites such as ``"theory"``.
    size
        Which size of the cases to run, such as ``"full"``; cases that do not have it are run as
        written.
    backend, device, dtype, seed
        Override what the suites say, for all cases.
    select
        Which cases to run, as ``pcbench run -k``: ``"mnist1d and not spectrum"``.
    settings
        Override parameters of cases, as ``pcbench run --set``: ``{"training.steps": 10}``.
    observer
        Told of progress; silent if not given.

    Raises
    ------
    UsageError
        If a suite, an override or the selection is not valid, no case has the size, or the
        backend, device or dtype cannot be had here. Nothing has run then.

    Examples
    --------
    >>> import pcbench
    >>> report = pcbench.run("theory", select="origin and chain")
    >>> report.summary.failed
    0
    """
    if not suites:
        raise TypeError("run() needs at least one suite, such as run('theory')")
    if isinstance(settings, Mapping):
        settings = [_override(path, value) for path, value in settings.items()]
    choices = {"backend": backend, "device": device, "dtype": dtype, "seed": seed}
    chosen = [_override(name, value) for name, value in choices.items() if value is not None]
    plan = load_suites(suites, size=size, overrides=[*settings, *chosen], select=select)
    return run_suites(plan, observer=observer)


def _override(path: str, value: object) -> str:
    # JSON is YAML, where a name with a colon in it stays a name; but not JSON's surrogate pairs.
    return f"{path}={json.dumps(value, ensure_ascii=False)}"
