"""The real command line, in a process of its own."""

import os
import subprocess
import sys

# What the terminal, the CI or the data of whoever runs the tests would change.
OUTSIDE = (
    "COLUMNS",
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "NO_COLOR",
    "PCBENCH_DATA",
    "PY_COLORS",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
)
PCBENCH = (sys.executable, "-m", "pcbench")


def environment(**variables):
    """Return this environment without what is outside, and with the variables given."""
    ours = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    return {**ours, "PYTHONUTF8": "1", **{name: str(value) for name, value in variables.items()}}


def pcbench(*arguments, cwd=None, timeout=120, **variables):
    """Run ``pcbench`` in a pipe and return how it ended."""
    return python("-m", "pcbench", *arguments, cwd=cwd, timeout=timeout, **variables)


def python(*arguments, cwd=None, timeout=120, **variables):
    """Run this Python in a pipe and return how it ended."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment(**variables),
        timeout=timeout,
        check=False,
    )
