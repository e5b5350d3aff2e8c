"""Write output files completely or not at all, and find out before a run whether one can.

A file is written beside its destination and then moved there, so that neither a crash nor a full
disk leaves half a file. The same steps with an empty file, which is removed again, tell before the
run whether they will succeed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pcbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


class UnwritableOutputError(UsageError):
    """An output file cannot be written. The message names it, the reason and the remedy."""


def check_writable(path: Path) -> None:
    """Find out now whether :func:`write_text` can write the file; leave everything as it is.

    Raises
    ------
    UnwritableOutputError
        If it cannot.
    """
    with _explained(path):
        target = _target(path)
        if target is not None:
            with _scratch(target):
                pass


def write_text(text: str, path: Path) -> None:
    """Write a UTF-8 text file in one step: readers see the old file or the new one.

    A device or a pipe, such as ``/dev/stdout``, has no old or new: it is written straight through.

    Raises
    ------
    UnwritableOutputError
        If it cannot be written; a file that was there is untouched.
    """
    with _explained(path):
        target = _target(path)
        if target is None:
            with path.open("w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            return
        with _scratch(target) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, file.name)
            file.close()  # Windows moves no open file
            os.replace(file.name, target)


def _target(path: Path) -> Path | None:
    """Return the file that will be replaced, links followed; ``None`` for a device or a pipe."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path.resolve()
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        return None
    # Replacing a file asks leave of its directory only, yet a file set read-only is meant to stay.
    path.open("ab").close()
    return path.resolve()


@contextmanager
def _scratch(target: Path) -> Iterator[TextIO]:
    """Open a new file beside the target, and remove it afterwards unless it was moved."""
    scratch = target.with_name(f".pcbench-{secrets.token_hex(8)}.tmp")
    try:
        with scratch.open("x", encoding="utf-8", newline="\n") as file:
            yield file
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal into a sentence with a remedy."""
    try:
        yield
    except OSError as error:
        parent = path.absolute().parent
        denied = f"permission denied; allow writing to it and to {parent}, or choose another place"
        reasons = {
            errno.ENOENT: (
                f"{parent} takes no new files ({error.strerror}); choose another place"
                if parent.is_dir()  # as /proc does
                else f"the directory {parent} does not exist; create it first"
            ),
            errno.ENOTDIR: f"{parent} is not a directory; choose another place",
            errno.EISDIR: "it is a directory; name a file in it",
            errno.EACCES: denied,
            errno.EPERM: denied,
            errno.EROFS: f"{parent} is on a read-only file system; choose another place",
            errno.ENOSPC: "the disk is full; free some space or choose another place",
            errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
            errno.ELOOP: "it is a symbolic link that leads back to itself; remove the link",
        }
        reason = reasons.get(error.errno or 0, f"{error.strerror or error}; choose another place")
        raise UnwritableOutputError(f"{path} cannot be written: {reason}.") from error
