"""The backends of a run."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue, TypeAdapter

from pcbench.backends.base import Backend, BackendUnavailableError, DType
from pcbench.errors import UsageError
from pcbench.registry import BACKENDS, BrokenPluginError
from pcbench.runner.findings import storable
from pcbench.suite import PlannedCase

_DESCRIPTION = TypeAdapter(dict[str, JsonValue])


class Backends:
    """Makes each backend once for each device and dtype."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str, DType], Backend[Any]] = {}

    def of(self, case: PlannedCase) -> Backend[Any]:
        """Return the backend of a case.

        Raises
        ------
        BackendUnavailableError
            If it cannot be had here.
        BrokenPluginError
            If its plug-in cannot be imported, or is no backend.
        """
        key = (case.backend, case.device, case.dtype)
        if key not in self._made:
            self._made[key] = make_backend(*key)
        return self._made[key]

    def descriptions(self) -> dict[str, dict[str, JsonValue]]:
        """Return what each backend says of itself, by name, device and dtype."""
        return {
            storable(" ".join(key)): describe(backend)
            for key, backend in sorted(self._made.items())
        }


def backend_class(name: str) -> type[Backend[Any]]:
    """Import the backend of that name.

    Raises
    ------
    UnknownNameError
        If there is none.
    BrokenPluginError
        If it cannot be imported, or is not a :class:`Backend`.
    """
    found = BACKENDS.load(name)
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise BrokenPluginError(f"the backend {name!r} is {found!r}, not a subclass of Backend")
    return found


def make_backend(name: str, device: str, dtype: DType) -> Backend[Any]:
    """Make the backend of that name.

    Raises
    ------
    BackendUnavailableError
        If it cannot be had on that device and in that dtype.
    UnknownNameError, BrokenPluginError
        If there is none of that name, or it is no backend.
    """
    backend = backend_class(name)
    try:
        return backend(device, dtype)
    except UsageError:  # it says itself what it lacks
        raise
    except Exception as error:  # a plug-in is foreign code
        raise BackendUnavailableError(
            f"the backend {name!r} cannot be made for {device!r} and {dtype}: "
            f"{type(error).__name__}: {error}"
        ) from error


def describe(backend: Backend[Any]) -> dict[str, JsonValue]:
    """Let a backend describe itself; where it cannot, the results of the run are still kept."""
    try:
        return _DESCRIPTION.validate_python(storable(backend.describe()))
    except Exception as error:
        return {"error": storable(f"{type(error).__name__}: {error}")}
