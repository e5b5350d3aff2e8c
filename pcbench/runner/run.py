"""Run suites case by case, so that the failure of one does not affect the others."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any, TypedDict

from pcbench.data import Places
from pcbench.report import CaseResult, Environment, Report
from pcbench.runner.context import Observer
from pcbench.runner.durations import last_durations, remember_durations
from pcbench.runner.environment import describe_environment, machine_load
from pcbench.runner.executor import Executor, InProcess
from pcbench.runner.fingerprints import fingerprints
from pcbench.runner.interrupts import Interrupted, insistent_interrupts
from pcbench.runner.journal import Journal
from pcbench.runner.misfits import refuse_misfits
from pcbench.suite import Suite


class RunOptions(TypedDict, total=False):
    """How to run suites; see :func:`run_suites`."""

    executor: Executor | None
    shard: tuple[int, int]
    journal: Path | None
    resume: bool
    strict_skips: bool
    signals: Sequence[signal.Signals]


def run_suites(
    suites: Sequence[Suite],
    *,
    places: Places | None = None,
    observer: Observer | None = None,
    executor: Executor | None = None,
    shard: tuple[int, int] = (1, 1),
    journal: Path | None = None,
    resume: bool = False,
    strict_skips: bool = False,
    signals: Sequence[signal.Signals] = (signal.SIGINT,),
) -> Report:
    """Run every case of the suites and report on all of them.

    A case that errors is reported as errored and the rest runs on. Ctrl-C ends the run; the report
    then holds the cases that were finished and says that it was interrupted.

    Parameters
    ----------
    suites
        What to run.
    places
        Where data are.
    observer
        Told of progress; silent if not given.
    executor
        Where cases are computed; in this process if not given.
    shard
        Which part of the cases to run, ``(i, n)`` with ``1 ≤ i ≤ n``: the ``i``-th and every
        ``n``-th after it.
    journal
        A file that takes every result as soon as it is there, and is removed by whoever has stored
        the report.
    resume
        Whether to take from the journal what it has, and run the rest.
    strict_skips
        Whether a case that is skipped is an error.
    signals
        Which signals end the run as Ctrl-C does.

    Raises
    ------
    UsageError
        If a backend cannot be had, saved weights do not fit a network, or the journal is of another
        run, or cannot be read.
    """
    places, observer = places or Places.default(), observer or Observer()
    executor, (part, parts) = executor or InProcess(), shard
    plan = [(suite.name, case) for suite in suites for case in suite.cases][part - 1 :: parts]
    cases = [case for _, case in plan]
    load, started = machine_load(), perf_counter()
    results: dict[int, CaseResult] = {}
    end = ""
    with ExitStack() as opened:
        opened.enter_context(executor)
        refuse_misfits(suites, places)
        environment = describe_environment(executor.prepare(cases, places), load=load)
        made = fingerprints(suites, environment, places, executor.threads)
        diary = Journal(journal, made, f"{part}/{parts}", resume=resume)
        opened.enter_context(closing(diary))
        observer.run_started(len(plan))
        for index, (suite, case) in enumerate(plan):
            if (known := diary.known.get((suite, case.id))) is not None:
                results[index] = known
                observer.case_finished(known)
        left = [index for index in range(len(plan)) if index not in results]
        if executor.jobs > 1:
            # The longest first, and what was never timed before all others: it may take long.
            times = last_durations()
            left.sort(key=lambda i: -times.get((plan[i][0], plan[i][1].id), inf))
        try:
            with insistent_interrupts(signals):
                for place, found in executor.run([cases[index] for index in left], observer):
                    index = left[place]
                    results[index] = found.model_copy(update={"suite": plan[index][0]})
                    diary.add(results[index])
                    observer.case_finished(results[index])
        except KeyboardInterrupt as interrupt:
            end = interrupt.name if isinstance(interrupt, Interrupted) else "SIGINT"
        if diary.broken:
            observer.warned(diary.broken)
    finished = [results[index] for index in sorted(results)]
    remember_durations(finished)
    if strict_skips:
        finished = [_strict(result) for result in finished]
    return Report(
        **heading(suites, environment, started),
        jobs=executor.jobs,
        shard="" if parts == 1 else f"{part}/{parts}",
        fingerprints=made,
        interrupted=bool(end),
        signal=end,
        summary=Report.summarise(finished),
        cases=finished,
    )


def heading(suites: Sequence[Suite], environment: Environment, started: float) -> dict[str, Any]:
    """Return what reports and audits begin with; runs start at a time of ``perf_counter``."""
    return {
        "suite": " + ".join(suite.name for suite in suites),
        "size": " + ".join(dict.fromkeys(suite.size for suite in suites)),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "duration_s": perf_counter() - started,
        "environment": environment,
    }


def _strict(result: CaseResult) -> CaseResult:
    """Make an error of a skip."""
    if result.status != "skipped":
        return result
    message = f"It was skipped, which --strict-skips forbids: {result.message}"
    return result.model_copy(update={"status": "errored", "message": message})
