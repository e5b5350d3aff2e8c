"""Where a run took place: versions, processor, backends."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pcbench._version import __version__
from pcbench.report import Environment

PACKAGES = ("numpy", "scipy", "torch", "mnist1d")


def describe_environment(
    backends: Mapping[str, dict[str, Any]], *, load: float | None = None
) -> Environment:
    """Describe this machine and what computes on it.

    ``backends`` are what each backend says of itself, by a name that tells it from the others, and
    ``load`` is what :func:`machine_load` said before the run, which is a load itself.
    """
    return Environment(
        pcbench=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        processor=processor(),
        cores=cores(),
        packages={name: found for name in PACKAGES if (found := package_version(name))},
        backends=dict(backends),
        commit=commit(Path(__file__).parents[2]),
        load=load,
    )


def machine_load() -> float | None:
    """Return how many processes ran or waited to, averaged over the last minute, if known."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None


def commit(checkout: Path) -> str:
    """Return the Git commit of a checkout, with ``-dirty`` where files differ; empty if it is none.

    A folder within another project's checkout, such as its virtual environment, is none.
    """
    if not (checkout / ".git").exists():
        return ""
    command = ("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        done = subprocess.run(
            command, cwd=checkout, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):  # no git here, or it refuses the checkout
        return ""
    return done.stdout.strip()


def package_version(name: str) -> str | None:
    """Return the installed version of a package; ``None`` if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")  # platform.processor() is empty or only "x86_64" on Linux
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
