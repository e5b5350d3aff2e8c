"""The backends of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue, TypeAdapter

from pcbench.contract.backend import Backend, BackendUnavailableError, DType
from pcbench.contract.inference import capabilities
from pcbench.errors import UsageError
from pcbench.registry import BACKENDS, BrokenPluginError, did_you_mean
from pcbench.runner.findings import storable
from pcbench.suite import PlannedCase

_DESCRIPTION = TypeAdapter(dict[str, JsonValue])


_Key = tuple[str, str, DType]


class Backends:
    """Makes each backend once for each device and dtype.

    A suite may ask for a dtype that a backend does not know beside one that it does: that is told
    case by case. Where a backend cannot be had at all, or not in the dtype that whoever runs the
    suite asked for, no case needs to run to find out.

    Parameters
    ----------
    plan
        All cases of the run.

    Raises
    ------
    BackendUnavailableError
        If a backend cannot be had here in any dtype that the plan has for it, or in one that was
        insisted on.
    BrokenPluginError
        If its plug-in cannot be imported, or is no backend.
    """

    def __init__(self, plan: Sequence[PlannedCase]) -> None:
        self._made: dict[_Key, Backend[Any]] = {}
        self._refused: dict[_Key, BackendUnavailableError] = {}
        for case in plan:
            key = _key(case)
            if key in self._made or key in self._refused:
                continue
            try:
                self._made[key] = make_backend(*key)
            except BackendUnavailableError as refusal:
                self._refused[key] = refusal
        made = {key[:2] for key in self._made}
        for case in plan:
            key = _key(case)
            if key in self._refused and ("dtype" in case.insisted or key[:2] not in made):
                raise self._refused[key]

    def of(self, case: PlannedCase) -> Backend[Any]:
        """Return the backend of a case.

        Raises
        ------
        BackendUnavailableError
            If it cannot be had in that dtype, though in another.
        """
        key = _key(case)
        if key in self._refused:
            raise BackendUnavailableError(str(self._refused[key]))
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


def _key(case: PlannedCase) -> _Key:
    return case.backend, case.device, case.dtype


def make_backend(name: str, device: str, dtype: DType) -> Backend[Any]:
    """Make the backend of that name.

    Raises
    ------
    BackendUnavailableError
        If it cannot be had on that device and in that dtype.
    UnknownNameError, BrokenPluginError
        If there is none of that name, it is no backend, or it declares what is no capability.
    """
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
    """Let a backend describe itself; where it cannot, the results of the run are still kept."""
    try:
        return _DESCRIPTION.validate_python(storable(backend.describe()))
    except (Exception, SystemExit) as error:
        return {"error": storable(f"{type(error).__name__}: {error}")}
