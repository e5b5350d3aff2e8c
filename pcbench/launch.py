"""Start a worker process; on its own, so that a run can do so before it imports anything heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pcbench.errors import UsageError

# What is imported lives on, and to look through it for garbage takes a tenth of the time.
_SERVE = "import gc; gc.disable(); from pcbench.runner.workers.serving import main; main()"


def launch(threads: int, backends: Iterable[str] = ()) -> subprocess.Popen[bytes]:
    """Start a worker process, with pipes to and from it.

    Parameters
    ----------
    threads
        How many threads its linear algebra may have.
    backends
        Names of backends that it is to import at once.

    Raises
    ------
    UsageError
        If no process can be started.
    """
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE, *backends],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, **thread_variables(threads)},
            process_group=0,  # Ctrl-C is for the run, and its children end with it
        )
    except OSError as error:
        raise UsageError(
            f"no worker process can be started: {error.strerror or error}; give fewer --jobs, "
            "or run with --in-process"
        ) from error


@contextmanager
def launched(threads: int, backends: Iterable[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Give a worker process, and end it with the block if nobody has by then."""
    process = launch(threads, backends)
    try:
        yield process
    finally:
        if process.poll() is None:
            with process:  # which closes its pipes
                process.kill()


def thread_variables(threads: int) -> dict[str, str]:
    """Return the variables that tell libraries of linear algebra how many threads to use.

    They are read when a library is imported.
    """
    found = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    if threads == 1:
        own = os.environ.get("XLA_FLAGS", "")
        found["XLA_FLAGS"] = f"{own} --xla_cpu_multi_thread_eigen=false".strip()
    return found
