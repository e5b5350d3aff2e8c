"""Where files of data are looked for on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import platformdirs

from pcbench.errors import UsageError

VARIABLE = "PCBENCH_DATA"

# Debian's packages of data, dataset-fashion-mnist among them, install here.
SYSTEM_FOLDERS = (Path("/usr/share/datasets"),)

T = TypeVar("T")


class DataDirectoryError(UsageError):
    """``PCBENCH_DATA`` does not name a directory that can be searched."""


@dataclass(frozen=True, slots=True)
class Places:
    """Data directories, in the order in which they are searched.

    Parameters
    ----------
    folders
        Data directories; each holds one folder a dataset, such as ``mnist/``.
    cache
        Where generated data are kept; created when first written to.
    """

    folders: tuple[Path, ...]
    cache: Path

    @classmethod
    def default(cls, environment: Mapping[str, str] = os.environ) -> Places:
        """Return ``$PCBENCH_DATA``, the user's cache directory and the system's folders of data.

        Raises
        ------
        DataDirectoryError
            If ``PCBENCH_DATA`` is set, not empty, and not a directory that can be searched.
        """
        cache = platformdirs.user_cache_path("pcbench")
        named = environment.get(VARIABLE)
        if not named:
            return cls((cache, *SYSTEM_FOLDERS), cache)
        if not (os.path.isdir(named) and os.access(named, os.X_OK)):
            raise DataDirectoryError(
                f"{VARIABLE} is {named!r}, which is not a directory that can be searched; "
                "set it to the directory that holds mnist/, fashion-mnist/ or cifar10/, or unset it"
            )
        return cls((Path(named).absolute(), cache, *SYSTEM_FOLDERS), cache)

    def first(self, find: Callable[[Path], T | None]) -> T | None:
        """Return what ``find`` finds in the first folder where it finds anything."""
        return next((found for folder in self.folders if (found := find(folder)) is not None), None)

    def __str__(self) -> str:
        return " or ".join(map(str, self.folders))
