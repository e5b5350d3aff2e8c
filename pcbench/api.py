"""pcbench from Python: run or audit a suite, get the report as an object."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

from pcbench.audit import Audit, AuditObserver, audit_suites, load_faults
from pcbench.contract.backend import DType
from pcbench.report import Report
from pcbench.runner import Observer, RunOptions, run_suites
from pcbench.suite import QUICK, Position, Setting, Suite, SuiteError, load_suites, parse_selection


def run(
    *suites: str | Path,
    size: str = QUICK,
    backend: str | None = None,
    device: str | None = None,
    dtype: DType | None = None,
    seed: int | None = None,
    select: str | None = None,
    settings: Mapping[str, object] | Sequence[str] = (),
    allow_large: bool = False,
    observer: Observer | None = None,
    **options: Unpack[RunOptions],
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
    allow_large
        Whether a suite may make more than 10,000 cases.
    observer
        Told of progress; silent if not given.
    **options
        Of :func:`pcbench.runner.run_suites`: ``executor=Workers(jobs=4)`` runs cases in worker
        processes, ``journal`` and ``resume`` keep results, ``shard=(1, 3)`` runs a third.

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
    overrides = _overrides(settings, backend=backend, device=device, dtype=dtype, seed=seed)
    plan = _plan("run", suites, size, overrides, select, observer, allow_large=allow_large)
    return run_suites(plan, observer=observer, **options)


def audit(
    *suites: str | Path,
    size: str = QUICK,
    backend: str | None = None,
    device: str | None = None,
    dtype: DType | None = None,
    seed: int | None = None,
    select: str | None = None,
    settings: Mapping[str, object] | Sequence[str] = (),
    faults: str | None = None,
    observer: AuditObserver | None = None,
) -> Audit:
    """Run suites against a catalogue of deliberate mistakes, and return which check catches which.

    The same that ``pcbench audit --json`` writes.

    Parameters
    ----------
    suites
        Paths, or names of shipped suites; they are audited together, as one.
    size, device, dtype, seed, select, settings
        As of :func:`run`.
    backend
        The correct backend that faults are put into, instead of what the suites say.
    faults
        Which faults to try, an expression like ``select`` over their names and parts.
    observer
        Told of progress; silent if not given.

    Raises
    ------
    UsageError
        As of :func:`run`; or if the backend does not pass the suites as it is, no fault matches, or
        a plug-in's fault is none.
    """
    matches = parse_selection(faults or "", option="--faults")
    catalogue = load_faults()
    chosen = [fault for fault in catalogue if matches((fault.name, fault.part), ())]
    if not chosen:
        message = "no fault matches by its name or part; leave the option out to try them all"
        raise SuiteError.at(Position(f"--faults {shlex.quote(faults or '')}"), message)
    overrides = _overrides(settings, backend=backend, device=device, dtype=dtype, seed=seed)
    plan = _plan("audit", suites, size, overrides, select, observer)
    return audit_suites(
        plan,
        chosen,
        narrowed=bool(select or overrides),
        left_out=len(catalogue) - len(chosen),
        observer=observer,
    )


def _plan(
    command: str,
    suites: Sequence[str | Path],
    size: str,
    overrides: Sequence[str],
    select: str | None,
    observer: Observer | AuditObserver | None,
    *,
    allow_large: bool = False,
) -> list[Suite]:
    if not suites:
        raise TypeError(f"{command}() needs at least one suite, such as {command}('theory')")
    plan = load_suites(
        suites, size=size, overrides=overrides, select=select, allow_large=allow_large
    )
    if select and observer:
        selected = sum(len(suite.cases) for suite in plan)
        observer.cases_selected(select, selected=selected, of=sum(suite.total for suite in plan))
    return plan


def _overrides(
    settings: Mapping[str, object] | Sequence[str], **choices: str | int | None
) -> list[str]:
    if isinstance(settings, Mapping):
        settings = [
            Setting(path, value, f"settings={{{path!r}: {value!r}}}")
            for path, value in settings.items()
        ]
    chosen = [
        Setting(name, value, f"{name}={value!r}")
        for name, value in choices.items()
        if value is not None
    ]
    return [*settings, *chosen]
