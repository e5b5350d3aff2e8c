"""Finding backends, datasets, case kinds, engines and activations by name, through entry points.

The names are read from package metadata, so that listing them imports nothing; a plug-in's code is
imported only when its name is asked for, and a broken one breaks nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from pcbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")


MOST_LISTED = 20
"""A message that lists more names than these is no longer read."""


class UnknownNameError(UsageError):
    """No plug-in has that name; the message offers the nearest ones."""


class BrokenPluginError(UsageError):
    """A plug-in is registered but cannot be imported, or is not what its group demands."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The plug-ins of one entry-point group."""

    group: str  # the entry-point group, such as ``pcbench.cases``
    noun: str  # what one entry is called in messages, such as ``case kind``
    # Entries that need no package metadata, in the order in which they are listed, before others.
    shipped: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _added: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def names(self) -> list[str]:
        """All names, shipped ones first and others sorted, without importing any plug-in."""
        return [*self.shipped, *sorted({*_entries(self.group), *self._added} - {*self.shipped})]

    def provider(self, name: str) -> str:
        """Return the package that provides the plug-in, and its version; empty if none does."""
        entry = None if name in self._added else _entries(self.group).get(name)
        return f"{entry.dist.name} {entry.dist.version}" if entry and entry.dist else ""

    def module(self, name: str) -> str:
        """Return the module that has the plug-in, importing nothing."""
        if name in self._added:
            return str(getattr(self._added[name], "__module__", __name__))
        entry = _entries(self.group).get(name)
        return entry.module if entry else __name__

    def add(self, name: str, plugin: Any) -> None:
        """Add a plug-in for this process only: for notebooks and tests, where nothing is installed.

        It takes precedence over an installed one of the same name.
        """
        self._added[name] = plugin

    def load(self, name: str) -> Any:
        """Import the plug-in of that name."""
        known = {**self.shipped, **self._added}
        if name in known:
            return known[name]
        entries = _entries(self.group)
        if name not in entries:
            raise UnknownNameError(
                f"unknown {self.noun} {name!r}{did_you_mean(name, self.names())}"
            )
        try:
            return entries[name].load()
        except (Exception, SystemExit) as error:  # foreign code: anything can happen at its import
            raise BrokenPluginError(
                f"the {self.noun} {name!r} ({entries[name].value}) cannot be imported: {error}"
            ) from error

    def load_instance(self, name: str, kind: type[T]) -> T:
        """Import the plug-in of that name, which must be an instance of a class."""
        found = self.load(name)
        if not isinstance(found, kind):
            raise self._misfit(name, found, f"no {kind.__name__}")
        return found

    def load_subclass(self, name: str, kind: type[Any]) -> type[Any]:
        """Import the plug-in of that name, which must be a subclass of a class."""
        found = self.load(name)
        if not (isinstance(found, type) and issubclass(found, kind)):
            raise self._misfit(name, found, f"not a subclass of {kind.__name__}")
        return found

    def _misfit(self, name: str, found: object, reason: str) -> BrokenPluginError:
        return BrokenPluginError(f"the {self.noun} {name!r} is {found!r}, {reason}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the part of a message that offers the nearest name.

    Where none is near it lists them all, unless there are too many to read.
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= MOST_LISTED else ""


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


BACKENDS = Registry("pcbench.backends", "backend")
DEFAULT_BACKEND = "torch"
"""The backend of a case that names none."""
DATASETS = Registry("pcbench.datasets", "dataset")
CASES = Registry("pcbench.cases", "case kind")
FIGURES = Registry("pcbench.figures", "figure")
FAULTS = Registry("pcbench.faults", "fault")
