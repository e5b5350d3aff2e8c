"""A worker process, as seen by the process that started it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from queue import SimpleQueue
from time import monotonic
from typing import IO, Any

from pcbench.runner.context import storable
from pcbench.runner.workers.messages import receive, send
from pcbench.suite import PlannedCase

PATIENCE_S = 120.0
"""How long a worker may take to start, or to import what a case computes with."""
LAST_WORDS_S = 0.5
"""How long a worker that is to end may take over it."""
_AT_MOST_S = 5.0
"""How long to wait for a process that was killed."""
_KEPT = 64 * 1024
"""Bytes that are kept of what a worker writes."""
_LINES = 40
"""Lines of that which a report shows."""

Heard = SimpleQueue[tuple["Worker", Any]]


@dataclass
class Running:
    """A case that a worker has."""

    number: int
    index: int
    case: PlannedCase
    limit_s: float
    contended: bool = False
    began: float = field(default_factory=monotonic)
    # Until it says that it has begun.
    deadline: float = field(default_factory=lambda: monotonic() + PATIENCE_S)
    has_begun: bool = False
    died: float = inf

    def begin(self) -> None:
        """Count its time from now."""
        self.has_begun, self.deadline = True, monotonic() + self.limit_s


class Worker:
    """A worker process, what it is doing, and the last of what it wrote.

    Parameters
    ----------
    process
        What :func:`pcbench.launch.launch` has started.
    heard
        Takes what it says, with the worker itself; ``None`` once it says no more.
    """

    def __init__(self, process: subprocess.Popen[bytes], heard: Heard) -> None:
        self.running: Running | None = None
        self.served = 0
        self._written, self._writing = b"", threading.Lock()
        self._process = process
        self._keeper = threading.Thread(
            target=self._keep, args=(self._process.stderr,), daemon=True
        )
        self._keeper.start()
        hearing = (self._process.stdout, heard)
        threading.Thread(target=self._hear, args=hearing, daemon=True).start()

    def tell(self, message: object) -> None:
        """Send a message; a worker that is no more is found out by its silence."""
        assert self._process.stdin
        with suppress(OSError):
            send(message, self._process.stdin)

    def _hear(self, pipe: IO[bytes], heard: Heard) -> None:
        with pipe, suppress(Exception):  # whatever is no message is the last that is listened to
            while (message := receive(pipe)) is not None:
                heard.put((self, pickle.loads(message)))
        heard.put((self, None))

    def _keep(self, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := os.read(pipe.fileno(), _KEPT):
                with self._writing:
                    self._written = (self._written + chunk)[-_KEPT:]

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """Return the last lines that it has written."""
        text = self._written.decode("utf-8", "replace")
        return str(storable("\n".join(text.splitlines()[-_LINES:])))

    def forget(self) -> None:
        """Forget what it has written so far."""
        with self._writing:
            self._written = b""

    def ended(self) -> str:
        """Say how the process has ended, or that it only says no more."""
        try:
            code = self._process.wait(LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            return "its process has closed the pipe through which it answers"
        self._keeper.join(LAST_WORDS_S)
        if code >= 0:
            return f"its process exited with code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        memory = (
            ", which is also what the system sends where memory runs out: give the case fewer "
            "samples, replicas or units, or a memory_limit"
        )
        return f"its process was killed by {name}{memory if name == 'SIGKILL' else ''}"

    def ask_where(self) -> None:
        """Let it write where it is, if it can."""
        if hasattr(signal, "SIGUSR1"):
            self.forget()
            with suppress(OSError, subprocess.TimeoutExpired):
                self._process.send_signal(signal.SIGUSR1)
                self._process.wait(LAST_WORDS_S)

    def kill(self) -> None:
        """End the process, and what it has started in its group of processes."""
        if hasattr(os, "killpg"):
            with suppress(OSError):  # a case may have left the group, or nobody is in it any more
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # one that the system itself does not let go
            self._process.wait(_AT_MOST_S)
        assert self._process.stdin
        with suppress(OSError):
            self._process.stdin.close()
