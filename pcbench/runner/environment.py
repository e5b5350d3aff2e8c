"""Where a run takes place: versions, the processor, and backends, with what each offers."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

from pydantic import JsonValue, TypeAdapter

from pcbench._version import __version__
from pcbench.contract.backend import Backend, DType
from pcbench.contract.inference import capabilities
from pcbench.contract.model import BackendUnavailableError
from pcbench.errors import UsageError
from pcbench.registry import BACKENDS, BrokenPluginError, did_you_mean
from pcbench.report import Environment
from pcbench.runner.context import storable
from pcbench.suite import PlannedCase

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


_DESCRIPTION = TypeAdapter(dict[str, JsonValue])

_Key = tuple[str, str, DType]
Asked = tuple[_Key, bool]
"""A backend's name, device and dtype, and whether an override insists on the dtype."""


class Backends:
    """Makes each backend once for each device and dtype, when it is first asked for."""

    def __init__(self, plan: Iterable[PlannedCase] = ()) -> None:
        self._found: dict[_Key, Backend[Any] | BackendUnavailableError] = {}
        self.demand(asked_for(plan))

    def demand(self, asked: Sequence[Asked]) -> None:
        """Make backends now.

        If a backend lacks a dtype that is asked for, but has another that is asked for, only the
        cases of that dtype are skipped.

        Raises
        ------
        BackendUnavailableError
            If a backend is not available at all, or not in the dtype that an override gave.
        """
        made = {key[:2] for key, _ in asked if isinstance(self._find(key), Backend)}
        for key, insisted in asked:
            found = self._find(key)
            if isinstance(found, BackendUnavailableError) and (insisted or key[:2] not in made):
                raise found

    def _find(self, key: _Key) -> Backend[Any] | BackendUnavailableError:
        if key not in self._found:
            try:
                self._found[key] = make_backend(*key)
            except BackendUnavailableError as refusal:
                self._found[key] = refusal
        return self._found[key]

    def of(self, case: PlannedCase) -> Backend[Any]:
        """Return the backend of a case."""
        found = self._find(_key(case))
        if isinstance(found, BackendUnavailableError):
            raise BackendUnavailableError(str(found))
        return found

    def descriptions(self) -> dict[str, dict[str, JsonValue]]:
        """Return the description of each backend, by name, device and dtype."""
        return {
            storable(" ".join(key)): describe(found)
            for key, found in sorted(self._found.items(), key=lambda each: each[0])
            if isinstance(found, Backend)
        }


def asked_for(plan: Iterable[PlannedCase]) -> list[Asked]:
    """Return the backends that a plan asks for, each once."""
    return list(dict.fromkeys((_key(case), "dtype" in case.insisted) for case in plan))


def backend_class(name: str) -> type[Backend[Any]]:
    """Import the backend of that name."""
    return BACKENDS.load_subclass(name, Backend)


def _key(case: PlannedCase) -> _Key:
    return case.backend, case.device, case.dtype


def make_backend(name: str, device: str, dtype: DType) -> Backend[Any]:
    """Make the backend of that name."""
    backend = backend_class(name)
    try:
        made = backend(device, dtype)
    except UsageError:  # it says itself what it lacks
        raise
    except (Exception, SystemExit) as error:  # a plug-in is foreign code
        raise BackendUnavailableError(
            f"the backend {name!r} cannot be made for {device!r} and {dtype}: "
            f"{type(error).__name__}: {error}"
        ) from error
    known = capabilities()
    for declared in made.capabilities:
        if declared not in known:
            raise BrokenPluginError(
                f"the backend {name!r} declares {str(declared)!r}, which is no capability"
                f"{did_you_mean(str(declared), known)}"
            )
    return made


def describe(backend: Backend[Any]) -> dict[str, JsonValue]:
    """Let a backend describe itself; if that fails, the results of the run are still kept."""
    try:
        return _DESCRIPTION.validate_python(storable(backend.describe()))
    except (Exception, SystemExit) as error:
        return {"error": storable(f"{type(error).__name__}: {error}")}


_VERSION = re.compile(r"\d+(\.\d+)+\S*")


@dataclass(frozen=True, slots=True)
class BackendSummary:
    """What is known of one backend."""

    name: str
    package: str  # with its version; empty for a backend that was added in this process
    unavailable: str = ""  # why it is not available here, and the remedy; empty if it is
    libraries: tuple[str, ...] = ()  # that it computes with, with their versions
    devices: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()


def survey_backends() -> Iterator[BackendSummary]:
    """Import every backend in turn, and yield its summary at once.

    Plug-ins are foreign code: whatever one of them does, the others are still asked.
    """
    for name in BACKENDS.names():
        package = BACKENDS.provider(name)
        try:
            found = backend_class(name)
            made = dict(_in_every_dtype(name, found))
            [described, *_] = [describe(backend) for backend in made.values()]
            libraries = tuple(
                f"{library} {version}"
                for library, version in described.items()
                if isinstance(version, str) and _VERSION.fullmatch(version)
            )
            devices, offered = tuple(found.devices()), frozenset(found.capabilities)
            yield BackendSummary(name, package, "", libraries, devices, tuple(made), offered)
        except (BackendUnavailableError, BrokenPluginError) as error:
            yield BackendSummary(name, package, unavailable=str(error))
        except (Exception, SystemExit) as error:
            reason = f"it fails to say what it offers: {type(error).__name__}: {error}"
            yield BackendSummary(name, package, unavailable=reason)


def _in_every_dtype(name: str, found: type[Backend[Any]]) -> Iterator[tuple[DType, Backend[Any]]]:
    """Make the backend on its first device, in every dtype that it has there."""
    if not found.devices():
        raise BackendUnavailableError("it finds no device here that it could compute on")
    device, refusals = found.devices()[0], []
    for dtype in get_args(DType):
        try:
            yield dtype, make_backend(name, device, dtype)
        except BackendUnavailableError as error:
            refusals.append(error)
    if len(refusals) == len(get_args(DType)):
        raise refusals[0]
