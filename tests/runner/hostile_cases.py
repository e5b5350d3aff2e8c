"""Cases that do to their process what foreign code may do."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from pcbench import checks
from pcbench.case import Case, CaseParameters, Columns
from pcbench.checks import Tolerance
from pcbench.suite import PlannedCase

PASSED = checks.approx("energy", 1.0, 1.0, Tolerance(0.1, "a test"), source="Theorem 0")


class Parameters(CaseParameters):
    file: str = ""
    seconds: float = 0.0


class Hostile(Case[Parameters]):
    """Does ``harm`` and yields what it returns, if it returns."""

    kind = "hostile"
    description = "What foreign code may do."
    Parameters = Parameters

    def run(self, context):
        print("about to do harm", flush=True)
        yield self.harm() or PASSED

    def harm(self):
        return None


class Sound(Hostile):
    pass


class Segfault(Hostile):
    def harm(self):
        os.kill(os.getpid(), signal.SIGSEGV)


class Exit(Hostile):
    def harm(self):
        os._exit(1)


class KillItself(Hostile):
    def harm(self):
        os.kill(os.getpid(), signal.SIGKILL)


class MemoryHog(Hostile):
    def harm(self):
        hoard = [np.ones(2**24) for _ in range(64)]  # 8 GiB
        return checks.approx("kept", len(hoard), 64.0, Tolerance(0.1, "a test"), source="none")


class EndlessLoop(Hostile):
    def harm(self):
        while True:
            pass


class EndlessLoopInC(Hostile):
    def harm(self):
        sum(iter(int, 1))  # never leaves C, and is interrupted by no Python thread for long


class Deadlock(Hostile):
    def harm(self):
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()


class Chatter(Hostile):
    """Writes 1 GB."""

    def harm(self):
        line = b"x" * (2**20 - 1) + b"\n"
        for _ in range(1000):
            os.write(1, line)


class UnshowableError(Exception):
    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


class RaiseUnshowable(Hostile):
    def harm(self):
        raise UnshowableError


class Unstorable(Hostile):
    def harm(self):
        return Columns("series", {"x": [object()]})


class NotFinite(Hostile):
    def harm(self):
        return Columns("series", {"x": [float("nan"), float("inf")]})


class LeaveChild(Hostile):
    def harm(self):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(self.parameters.file).write_text(str(child.pid))


class LeaveChildAndExit(LeaveChild):
    def harm(self):
        super().harm()
        os._exit(1)


class LeaveTimer(Hostile):
    """Passes, and ends its process a little later."""

    def harm(self):
        threading.Timer(0.3, os._exit, [7]).start()


class Fork(Hostile):
    """Has a child that returns from the case, too, a little later."""

    def harm(self):
        if os.fork() == 0:
            time.sleep(0.3)


class CloseAllPipes(Hostile):
    def harm(self):
        os.closerange(3, 64)
        time.sleep(600)


class LeaveGroup(Hostile):
    """Leaves its group of processes, so that it is not killed with that."""

    def harm(self):
        os.setpgid(0, os.getpgid(os.getppid()))
        time.sleep(600)


class Sleep(Hostile):
    def harm(self):
        time.sleep(self.parameters.seconds)


class Crowd(Hostile):
    """Writes down when it began and ended; waits for ``company`` to have begun."""

    company = 2

    def harm(self):
        file, began = Path(self.parameters.file), time.time()
        file.with_suffix(".began").touch()
        deadline = time.monotonic() + self.parameters.seconds
        while len(list(file.parent.glob("*.began"))) < self.company:
            assert time.monotonic() < deadline, "nobody came"
            time.sleep(0.01)
        file.write_text(f"{began} {time.time()}")


class Alone(Crowd):
    alone = True
    company = 1


def planned(kind, case_id="", **settings):
    """Plan a case of a class of this file."""
    own = {key: settings.pop(key) for key in ("file", "seconds") if key in settings}
    defaults = {"seed": 0, "dtype": "float64", "backend": "numpy", "device": "cpu"}
    return PlannedCase(
        id=case_id or kind.__name__,
        kind="hostile",
        case=kind,
        parameters=Parameters(**own),
        **{**defaults, **settings},
    )
