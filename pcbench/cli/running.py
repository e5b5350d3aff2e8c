"""What ``pcbench run`` does around a run: its options, its journal, its report."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcbench.errors import UsageError
from pcbench.launch import thread_variables
from pcbench.report import Report, check_writable, report_text, write_report
from pcbench.report.console import make_console, render_report

if TYPE_CHECKING:
    from subprocess import Popen

    from pcbench.runner import Executor

STANDARD_OUTPUT = Path("-")


@dataclass(frozen=True, kw_only=True)
class RunCommand:
    """The options of a run that say where and how, not what."""

    json: Path | None
    journal: Path | None
    resume: bool
    jobs: str
    threads: int
    timeout: float | None
    shard: str
    dask: bool
    scheduler: str
    in_process: bool
    debug: bool
    first: Popen[bytes] | None = None  # a worker process that is started already

    def __post_init__(self) -> None:
        if self.in_process and (self.jobs != "1" or self.timeout is not None):
            raise UsageError(
                "--jobs and --timeout need worker processes; leave out --in-process and --pdb"
            )
        if self.scheduler and not self.dask:
            raise UsageError("--scheduler is of --executor dask; add that, or leave it out")
        if self.dask and self.in_process:
            raise UsageError("--executor dask is not in this process; leave out one of the two")
        if self.timeout is not None and not 0 < self.timeout < inf:
            wanted = "--timeout must be a number of seconds above 0"
            raise UsageError(f"{wanted}, not {self.timeout:g}")
        if self.json not in (None, STANDARD_OUTPUT):
            check_writable(self.json)  # now, not after an hour
        if self.resume and self._where is None:
            raise UsageError("--resume needs the journal to go on with: name --json or --journal")
        if self.journal and self.json and self.journal.resolve() == self.json.resolve():
            raise UsageError(f"--journal and --json are both {self.json}; name another journal")

    @property
    def _where(self) -> Path | None:
        """The journal's file: beside the report, if it is not named."""
        if self.journal or self.json in (None, STANDARD_OUTPUT):
            return self.journal
        if self.json.exists() and not self.json.is_file():  # a device or a pipe
            return None
        return self.json.with_name(f"{self.json.name}.journal")

    @property
    def _part(self) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", self.shard)
        part, parts = (int(each) for each in found.groups()) if found else (0, 0)
        if not 1 <= part <= parts:
            raise UsageError(f"--shard must be I/N, such as 2/3, not {self.shard!r}")
        return part, parts

    def run(self, suites: Sequence[str], *, quiet: bool, **options: Any) -> Report:
        """Run suites."""
        part = self._part
        if self.in_process:
            os.environ.update(thread_variables(self.threads))  # before anything is imported
        from pcbench.api import run as run_suites
        from pcbench.cli.live import watch_run
        from pcbench.runner.interrupts import ENDING

        watching = watch_run(quiet=quiet, suites=len(suites))
        # It is closed here, too, for it may never be used, as where a suite is not valid.
        with watching as observer, closing(self._executor()) as executor:
            report = run_suites(
                *suites,
                observer=observer,
                executor=executor,
                shard=part,
                journal=self._where,
                resume=self.resume,
                signals=ENDING,
                **options,
            )
        command = shlex.join(["pcbench", *sys.argv[1:]]).encode("utf-8", "backslashreplace")
        environment = report.environment.model_copy(update={"command": command.decode()})
        return report.model_copy(update={"environment": environment})

    def _executor(self) -> Executor:
        from pcbench.runner import InProcess, OnDask, Workers

        if self.in_process:
            return InProcess(debug=self.debug, threads=self.threads)
        if self.dask:
            return OnDask(self.scheduler, self._jobs(), self.threads, self.timeout)
        return Workers(self._jobs(), self.threads, self.timeout, self.first)

    def _jobs(self) -> int:
        if self.jobs == "auto":
            from pcbench.runner.environment import cores

            return max(1, cores() // self.threads)
        if not (self.jobs.isdecimal() and 1 <= int(self.jobs) <= 1024):
            raise UsageError(f"--jobs must be 'auto' or a number from 1 to 1024, not {self.jobs!r}")
        return int(self.jobs)

    def finish(self, report: Report, *, quiet: bool, verbose: bool) -> None:
        """Store and print a report."""
        to_output = self.json == STANDARD_OUTPUT
        try:
            if to_output:
                print(report_text(report), flush=True)
            elif self.json is not None:
                write_report(report, self.json)
                if self._where and not report.interrupted:
                    self._where.unlink(missing_ok=True)
        finally:  # a disk that filled up meanwhile must not cost both
            console = make_console(sys.stderr if to_output else sys.stdout)
            # After SIGHUP there is no terminal.
            with suppress(OSError) if report.interrupted else nullcontext():
                render_report(report, console, verbose=verbose, quiet=quiet)
        for case in report.cases if verbose else ():
            if case.traceback:
                print(f"\n{case.id}\n{case.traceback}", file=sys.stderr)
