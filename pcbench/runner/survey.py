"""Which backends there are, what they offer, and why one cannot be had."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pcbench.contract.backend import Backend, BackendUnavailableError, DType
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
        Why it cannot be had here, and the remedy; empty if it can.
    libraries
        Versions of what it computes with, by name, as it describes itself.
    devices, dtypes
        What it can be had on and in.
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
    """Import every backend in turn, and yield what it says of itself, as soon as it has.

    Plug-ins are foreign code: whatever one of them does, the others are asked.
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
    """Make the backend on its first device, in every dtype that it knows there.

    Raises
    ------
    BackendUnavailableError
        If it knows none.
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
