"""The binary format of CIFAR-10, as a directory of files or as the archive they come in.

A record is one byte of label and ``3 × 32 × 32`` bytes of pixels: the planes red, green and blue in
turn, each row by row. A file is any number of records and nothing else.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

from pcbench.data.base import DatasetCorruptError, Split
from pcbench.data.files import FileVersion, opened
from pcbench.data.labelled import MOST_IMAGES, require_classes

FILES: dict[Split, str] = {"train": "data_batch_*.bin", "test": "test_batch.bin"}
RECORD = 1 + 3 * 32 * 32
MOST_BYTES = MOST_IMAGES * RECORD


@lru_cache(maxsize=2)  # both splits of the original: 184 MB
def read_files(files: tuple[FileVersion, ...]) -> UInt8[np.ndarray, "N 3073"]:
    """Read the records of all files, one file after the other.

    Raises
    ------
    DatasetCorruptError
        If a file is not a whole number of records with labels 0 to 9.
    """
    folder = files[0].path.parent
    if sum(file.size for file in files) > MOST_BYTES:
        raise DatasetCorruptError(f"{folder} holds more than {MOST_IMAGES} records of CIFAR-10")
    contents = []
    for file in files:
        with opened(file.path) as stream:
            contents.append(_records(stream.read(file.size), str(file.path)))
    return np.concatenate(contents)


@lru_cache(maxsize=2)
def read_archive(archive: FileVersion, split: Split) -> UInt8[np.ndarray, "N 3073"]:
    """Read the records of one split from the archive, in memory, in the order of the files' names.

    Raises
    ------
    DatasetCorruptError
        If the archive is broken or lacks the split, or a file in it is not as :func:`read_files`
        wants it. A link is not followed: it is not a file of records.
    """
    members = _members(archive.path, FILES[split])
    if not members:
        raise DatasetCorruptError(f"{archive.path} has no member {FILES[split]}")
    return np.concatenate(
        [_records(members[name], f"{name} in {archive.path}") for name in sorted(members)]
    )


def _records(content: bytes, source: str) -> UInt8[np.ndarray, "N 3073"]:
    if not content:
        raise DatasetCorruptError(f"{source} is empty")
    if len(content) % RECORD:
        raise DatasetCorruptError(
            f"{source} holds {len(content)} bytes, not a whole number of records of {RECORD} bytes"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    require_classes(records[:, 0], source)
    return records


def _members(path: Path, pattern: str) -> dict[str, bytes]:
    """Return the content of the archive's files of that name, wherever in it they are."""
    members = {}
    with opened(path) as stream:
        unpacked = _Bounded(stream, path)
        try:
            with tarfile.open(fileobj=unpacked, mode="r|") as archive:
                for member in archive:
                    name = PurePosixPath(member.name).name
                    if fnmatchcase(name, pattern):
                        members[name] = _content(archive, member, f"{name} in {path}")
            while unpacked.read(2**20):
                pass  # to gzip's checksum, which stands at the end
        except (DatasetCorruptError, OSError, EOFError, zlib.error):
            raise  # ours, or of the file beneath: `opened` explains them
        except Exception as error:  # hostile headers draw many kinds out of tarfile
            raise DatasetCorruptError(f"{path} is not a sound tar archive: {error}") from error
    return members


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, source: str) -> bytes:
    if member.size > MOST_BYTES:
        raise DatasetCorruptError(f"{source} promises more than {MOST_IMAGES} records")
    # A sparse file is refused with the links: its holes fill memory from nothing in the archive.
    regular = member.isreg() and not member.issparse()
    if not regular or (file := archive.extractfile(member)) is None:
        raise DatasetCorruptError(f"{source} is not a regular file, and one is due there")
    return file.read()


class _Bounded(io.RawIOBase):
    """An unpacked stream that ends in an error where it is longer than any CIFAR-10."""

    def __init__(self, stream: io.BufferedIOBase, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._left = MOST_BYTES + 2**20  # for headers, padding and two short texts

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise DatasetCorruptError(f"{self._path} unpacks to more than {MOST_IMAGES} records")
        return content
