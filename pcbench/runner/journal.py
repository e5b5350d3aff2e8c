"""A file that takes every result as soon as it is there, so that none is lost with the run.

It has a line of JSON for the run, and one for each case. A line is written at once and never
changed; the last one may be cut off where the process was killed.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, Literal

from pydantic import ValidationError

from pcbench.errors import UsageError
from pcbench.report import CaseResult
from pcbench.report.model import Record
from pcbench.runner.fingerprints import differing

VERSION: Final = 1


class JournalError(UsageError):
    """A journal cannot be used. The message names it, the reason and the remedy."""


class _Heading(Record):
    pcbench_journal: Literal[1] = VERSION
    fingerprints: dict[str, str]
    shard: str


class _Line(Record):
    result: CaseResult


_BEGINNING = b'{"pcbench_journal":'


class Journal:
    """A journal that is open for a run.

    Parameters
    ----------
    path
        The file; ``None`` for a run that keeps none. One that is there is kept as ``PATH.old``,
        unless the run resumes.
    made
        Digests of what decides the run's numbers.
    shard
        Which part of the cases runs.
    resume
        Whether the run goes on with what the file has.

    Raises
    ------
    JournalError
        If the file is to be resumed and is of another run or no journal, or cannot be written.
    """

    def __init__(
        self, path: Path | None, made: dict[str, str], shard: str, *, resume: bool
    ) -> None:
        self._file: BinaryIO | None = None
        # The results that it had, by suite and case.
        self.known: dict[tuple[str, str], CaseResult] = {}
        # What kept it from being written to the end; empty while nothing has.
        self.broken = ""
        if path is None:
            return
        self._path = path
        heading = _Heading(fingerprints=made, shard=shard)
        try:
            begun = self._begun()
            if begun and resume:
                whole = self._read(heading)
                self._file = path.open("r+b")
                self._file.truncate(whole)
                self._file.seek(whole)
                return
            if begun:
                os.replace(path, path.with_name(f"{path.name}.old"))
            self._file = path.open("wb")
            self._write(heading)
        except OSError as error:
            reason = f"{path} cannot be used as a journal: {error.strerror or error}"
            raise JournalError(f"{reason}; choose another place with --journal.") from error

    def _begun(self) -> bool:
        """Whether there is a journal; not if nothing is in the file, or not even a first line."""
        if not self._path.exists():
            return False
        if not self._path.is_file():
            raise OSError(errno.EINVAL, "it is no regular file")
        with self._path.open("rb") as file:
            first = file.read(len(_BEGINNING))
            if first and first != _BEGINNING[: len(first)]:
                raise JournalError(
                    f"{self._path} is no journal, and left as it is; name another with --journal."
                )
            return file.readline().endswith(b"\n")

    def add(self, result: CaseResult) -> None:
        """Write a result. A disk that is full ends the journal, and not the run."""
        if self.broken or self._file is None:
            return
        try:
            self._write(_Line(result=result))
        except OSError as error:
            self.broken = (
                f"the journal {self._path} ends here: {error.strerror or error}; what was finished "
                "before is in it, and the run goes on"
            )

    def close(self) -> None:
        """Close the file."""
        if self._file:
            with suppress(OSError):  # what did not go to a full disk does not go now
                self._file.close()

    def _write(self, line: Record) -> None:
        assert self._file
        self._file.write(line.model_dump_json().encode() + b"\n")
        self._file.flush()

    def _read(self, heading: _Heading) -> int:
        """Take in what the file has, and return how many of its bytes are whole lines."""
        text = self._path.read_bytes()
        whole = text.rfind(b"\n") + 1
        first, *lines = text[:whole].splitlines()
        try:
            before = _Heading.model_validate_json(first)
            results = [_Line.model_validate_json(line).result for line in lines]
        except ValidationError as error:
            raise JournalError(
                f"{self._path} is no journal that this version of pcbench wrote, so nothing is "
                "resumed from it; run again without --resume, or name the journal with --journal."
            ) from error
        changed = differing(before.fingerprints, heading.fingerprints)
        if before.shard != heading.shard:
            changed.append(f"the shard ({before.shard} then)")
        if changed:
            *others, last = changed
            what = f"{', '.join(others)} and {last}" if others else last
            raise JournalError(
                f"the run of {self._path} cannot be resumed: since then {what} changed. Run again "
                "without --resume; the journal is kept beside the new one."
            )
        self.known = {(each.suite, each.id): each for each in results}
        return whole
