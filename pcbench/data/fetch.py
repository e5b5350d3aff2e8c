"""Fetch published files into a data directory, by pooch (extra ``data``).

A file is in its place only once its digest is right. What has come so far is kept beside it, as
``NAME.part``, and the next attempt goes on from there, from whichever source.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import responses
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from pcbench.data.published import Published
from pcbench.errors import UsageError

try:
    import fcntl
except ImportError:  # on Windows, where two that fetch the same file are in each other's way
    fcntl = None  # type: ignore[assignment]

PATIENCE_S = 30.0
"""Seconds in which a server has to answer, and to go on sending."""
_CHUNK = 2**16

Progress = Callable[[int], None]
"""Told how many bytes of the file are here."""


class FetchError(UsageError):
    """A file cannot be fetched. The message names it, what each source did, and the remedy."""


class _RefusedError(Exception):
    """A source does not send the file; what it did instead, to follow its URL."""


def fetch(
    file: Published, folder: Path, progress: Progress, *, patience_s: float = PATIENCE_S
) -> Path:
    """Return where a file is in a data directory, fetched from the first source that sends it.

    A file that is there as published is not fetched again.

    Parameters
    ----------
    file
        What to fetch.
    folder
        The data directory.
    progress
        Told how far it is.
    patience_s
        Seconds in which a server has to answer, and to go on sending.

    Raises
    ------
    FetchError
        If pooch is not installed, no source sends the file, or it cannot be written.
    """
    try:
        pooch: Any = import_module("pooch")
    except ImportError as error:
        raise FetchError(f"pooch is missing ({error}); pip install 'pcbench[data]'") from error
    pooch.get_logger().setLevel("ERROR")
    place = folder / file.path
    part = place.with_name(f"{place.name}.part")

    def download(url: str, target: str, _: Any) -> None:
        with _opened(part) as stream:
            _go_on(url, stream, file.size, progress, patience_s)
        os.replace(part, target)

    def attempt(source: str) -> None:
        pooch.retrieve(
            source,
            f"sha256:{file.sha256}",
            fname=place.name,
            path=place.parent,
            downloader=download,
        )

    refused = []
    try:
        for source in file.sources:
            kept = part.exists()
            try:
                try:
                    attempt(source)
                except ValueError:  # pooch has compared the digests, and removed the file
                    if not kept:
                        raise
                    attempt(source)  # what was kept may be to blame
            except ValueError:
                refused.append(f"{source} sends another file than the published one")
            except _RefusedError as refusal:
                refused.append(f"{source} {refusal}")
            else:
                return place
    except OSError as error:
        reason = error.strerror or str(error)
        raise FetchError(
            f"{place} cannot be written: {reason}; make room there, or name another folder for "
            "caches with XDG_CACHE_HOME"
        ) from error
    raise FetchError(
        f"{place.name} cannot be fetched: {'; '.join(refused)}. Try again later (what has come is "
        f"kept), or put the file into {place.parent} yourself."
    )


@contextmanager
def _opened(part: Path) -> Iterator[BinaryIO]:
    """Open what has come so far, for one process at a time."""
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as stream:
        if fcntl:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FetchError(
                    f"{part.name} is being fetched by another process; wait for it"
                ) from error
        yield stream


def _go_on(url: str, part: BinaryIO, size: int, progress: Progress, patience_s: float) -> None:
    """Fetch what is missing of a file."""
    requests: Any = import_module("requests")  # pooch's, too
    urllib3: Any = import_module("urllib3")
    broken = (requests.RequestException, urllib3.exceptions.HTTPError)
    late = (requests.Timeout, urllib3.exceptions.TimeoutError)
    have = part.seek(0, os.SEEK_END)
    if have > size:
        have = _begin_anew(part)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=patience_s) as answer:
            if not answer.ok:
                # The server's own words could be anything, and end on a terminal.
                words = responses.get(answer.status_code, "")
                raise _RefusedError(f"answers {answer.status_code} {words}".strip())
            if not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                have = _begin_anew(part)  # it sends the whole file
            while chunk := answer.raw.read(_CHUNK, decode_content=False):
                have += len(chunk)
                if have > size:
                    _begin_anew(part)
                    raise _RefusedError(f"sends more than the {size:,} bytes that are published")
                part.write(chunk)
                progress(have)
    except late as error:
        raise _RefusedError(f"sends nothing for {patience_s:g} s") from error
    except broken as error:
        if have:
            raise _RefusedError(f"ends after {have:,} of {size:,} bytes") from error
        raise _RefusedError("cannot be reached") from error
    if have < size:
        raise _RefusedError(f"ends after {have:,} of {size:,} bytes")


def _begin_anew(part: BinaryIO) -> int:
    part.truncate(0)
    return 0
