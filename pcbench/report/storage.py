"""Write reports as strict JSON, and read them, with a sentence for everything that can be wrong.

Reading is as strict as writing. A report decides whether a change is accepted, so one that was
edited, cut off or made by another version is refused, with the place of the mistake.

A file is written beside its destination and then moved there, so that neither a crash nor a full
disk leaves half a file. The same steps with an empty file, which is removed again, tell before the
run whether they will succeed.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import shutil
import stat
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from pydantic import ValidationError

from pcbench.errors import UsageError
from pcbench.report.model import SCHEMA_VERSION, Report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic_core import ErrorDetails


class UnwritableOutputError(UsageError):
    """An output file cannot be written. The message names it, the reason and the remedy."""


def check_writable(path: Path) -> None:
    """Find out now whether :func:`write_text` can write the file; leave everything as it is."""
    with _explained(path):
        if (target := _target(path)) is not None:
            with _scratch(target):
                pass


def write_text(text: str, path: Path) -> None:
    """Write a UTF-8 text file in one step: readers see the old file or the new one.

    A device or a pipe, such as ``/dev/stdout``, has no old or new: it is written straight through.
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


MAX_BYTES = 256 * 2**20
"""Largest file that is read: a report with 60 cases and long series takes a few megabytes."""


class UnreadableReportError(UsageError):
    """A file is not a report that this version reads. The message names the file and the reason."""


class _FlawError(Exception):
    """What is wrong with a file, in words that follow its name."""


def write_report(report: Report, path: Path) -> None:
    """Write the report as strict JSON, in UTF-8 and indented, whole or not at all.

    Numbers that are not finite become ``null``.

    Raises
    ------
    UnwritableOutputError
        If the file cannot be written; a file that was there is untouched.
    """
    write_text(report_text(report) + "\n", path)


def report_text(report: Report) -> str:
    """Return the report as strict JSON, indented."""
    # Through pydantic's own JSON first: it is what knows that NaN becomes null.
    return _indented(json.loads(report.model_dump_json()))


def read_report(path: Path) -> Report:
    """Read a report that :func:`write_report` wrote.

    Raises
    ------
    UnreadableReportError
        If the file is not there, cannot be read, is not strict JSON (then with line and column), is
        no pcbench report, has another schema version, or has a wrong field (then with its JSON
        pointer).
    """
    try:
        text = _read_text(path)
        return _validate(text, _parse(text))
    except _FlawError as flaw:
        raise UnreadableReportError(f"{path} {flaw}.") from flaw


def _indented(value: Any, margin: str = "") -> str:
    """Format JSON with one item a line, but a list of plain values (samples, a series) on one."""
    inner = margin + "  "
    if isinstance(value, dict) and value:
        items = [
            f"{json.dumps(k, ensure_ascii=False)}: {_indented(v, inner)}" for k, v in value.items()
        ]
        opening, closing = "{}"
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = [_indented(item, inner) for item in value]
        opening, closing = "[]"
    else:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    separator = f",\n{inner}"
    return f"{opening}\n{inner}{separator.join(items)}\n{margin}{closing}"


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise _FlawError(
                    f"takes {size / 2**20:.0f} MiB, and no pcbench report is larger than "
                    f"{MAX_BYTES // 2**20}"
                )
            # -sig: an editor on Windows may have put a byte order mark first.
            return file.read().decode("utf-8-sig")
    except FileNotFoundError:
        raise _FlawError("does not exist; `pcbench run SUITE --json FILE` makes a report") from None
    except IsADirectoryError:
        raise _FlawError("is a directory; name the report in it") from None
    except OSError as error:
        raise _FlawError(f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _FlawError(
            f"is not a text file (byte 0x{error.object[error.start]:02x} at offset {error.start}); "
            "a report is JSON in UTF-8"
        ) from None


def _parse(text: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=lambda name: _reject_constant(name, text),
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        if not text.strip():
            raise _FlawError("is empty; was the run cut off before it could write?") from None
        place = f"line {error.lineno}, column {error.colno}"
        raise _FlawError(f"is not valid JSON: {place}: {error.msg}") from None
    except RecursionError:
        raise _FlawError("is nested too deeply to be a pcbench report") from None
    except ValueError as error:  # an integer of thousands of digits
        raise _FlawError(f"holds a number that cannot be read: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise _FlawError(f"is ambiguous: one object has the key {twice!r} more than once")
    return content


def _reject_constant(name: str, text: str) -> None:
    # The parser does not say where it is; strings are stepped over, for they may say NaN.
    tokens = re.finditer(r'"(?:[^"\\]|\\.)*"|(NaN|-?Infinity)', text)
    start = next(token.start() for token in tokens if token.group(1))
    line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    raise _FlawError(
        f"is not strict JSON: line {line}, column {column}: {name}; "
        "a number that is not finite is written as null"
    )


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise _FlawError(f"holds the number {literal}, which is too large for a double")
    return number


def _validate(text: str, content: Any) -> Report:
    if not isinstance(content, dict) or "schema_version" not in content:
        raise _FlawError("is JSON, but not a pcbench report: it has no schema_version")
    version = content["schema_version"]
    if type(version) is not int or version != SCHEMA_VERSION:
        raise _FlawError(
            f"has schema_version {json.dumps(version)}, and this pcbench reads {SCHEMA_VERSION}; "
            "read it with the version that wrote it, or run the suite again"
        )
    try:
        # From the text, not from the parsed content: only in JSON does strict mode take a list
        # for a tuple, and lax mode would take "0.5" for a number.
        return Report.model_validate_json(text, strict=True)
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_input=False)
        if first["type"] == "json_invalid":  # stricter than the standard library: lone surrogates
            raise _FlawError(f"is not valid JSON: {first['ctx']['error']}") from None
        more = f" (and {len(others)} more)" if others else ""
        raise _FlawError(
            f"has a wrong field at {_pointer(first, content)}: {first['msg']}{more}"
        ) from None


def _pointer(error: ErrorDetails, content: Any) -> str:
    """Return the JSON pointer (RFC 6901) of a validation error.

    The error's path also names members of unions, which are no places in the file: it is followed
    through the content as far as it leads, and a missing field added.
    """
    parts: list[str] = []
    for part in error["loc"]:
        try:
            content = content[part]
        except (IndexError, KeyError, TypeError):
            if error["type"] == "missing":
                parts.append(str(part))
            break
        parts.append(str(part).replace("~", "~0").replace("/", "~1"))
    return "/" + "/".join(parts)
