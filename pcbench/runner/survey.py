"""Which backends there are, what they offer, and why one is not available."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pcbench.contract.backend import Backend, DType
from pcbench.contract.model import BackendUnavailableError
from pcbench.registry import BACKENDS, BrokenPluginError
from pcbench.runner.backends import backend_class, describe, make_backend

_VERSION = re.compile(r"\d+(\.\d+)+\S*")


@dataclass(frozen=True, slots=True)
class BackendSummary:
    """What is known of one backend.

    Attributes
    ----------
    name, package
        Its name, and the package that provides it, with its version; empty for one that was added
        in this process.
    unavailable
        Why it is not available here, and the remedy; empty if it is.
    libraries
        Names and versions of the libraries that it computes with.
    devices, dtypes
        Where and in which precision it can compute.
    capabilities
        What it offers beyond the required part of the contract.
    """

    name: str
    package: str
    unavailable: str = ""
    libraries: tuple[str, ...] = ()
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
            yield BackendSummary(
                name,
                package,
                libraries=tuple(
                    f"{library} {version}"
                    for library, version in described.items()
                    if isinstance(version, str) and _VERSION.fullmatch(version)
                ),
                devices=tuple(found.devices()),
                dtypes=tuple(made),
                capabilities=frozenset(found.capabilities),
            )
        except (BackendUnavailableError, BrokenPluginError) as error:
            yield BackendSummary(name, package, unavailable=str(error))
        except (Exception, SystemExit) as error:
            reason = f"it fails to say what it offers: {type(error).__name__}: {error}"
            yield BackendSummary(name, package, unavailable=reason)


def _in_every_dtype(name: str, found: type[Backend[Any]]) -> Iterator[tuple[DType, Backend[Any]]]:
    """Make the backend on its first device, in every dtype that it has there.

    Raises
    ------
    BackendUnavailableError
        If it has none.
    """
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
