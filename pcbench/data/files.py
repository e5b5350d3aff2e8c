"""Reading a file of data: which version of it, and every way that can go wrong as one error."""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pcbench.data.base import DatasetCorruptError


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file as it stands now: the key under which its content may be remembered.

    Parameters
    ----------
    path
        The file.
    modified_ns
        When it was last modified, in nanoseconds since the epoch.
    size
        Its length in bytes, as stored.
    """

    path: Path
    modified_ns: int
    size: int

    @classmethod
    def of(cls, path: Path) -> FileVersion:
        """Look at the file without opening it.

        Raises
        ------
        DatasetCorruptError
            If it is not a regular file; opening a pipe, say, would wait for ever.
        """
        with _explained(path):
            status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DatasetCorruptError(f"{path} is not a regular file, and one is due there")
        return cls(path, status.st_mtime_ns, status.st_size)


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a file for reading, decompressed if its name ends in ``.gz``.

    Raises
    ------
    DatasetCorruptError
        If it cannot be opened, or breaks while it is read within the ``with`` block.
    """
    with _explained(path):
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                yield stream
        else:
            with path.open("rb") as stream:
                yield stream


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the operating system and gzip raise into a sentence."""
    try:
        yield
    except EOFError as error:
        raise DatasetCorruptError(f"{path} is truncated: its gzip stream ends early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DatasetCorruptError(f"{path} is not a sound gzip file: {error}") from error
    except OSError as error:
        raise DatasetCorruptError(f"{path} cannot be read: {error.strerror or error}") from error
