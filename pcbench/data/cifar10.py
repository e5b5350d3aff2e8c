"""CIFAR-10: 32 × 32 colour images of ten classes, from its distributions on this machine.

The binary one is a directory of files or the archive they come in. A record is one byte of label
and ``3 × 32 × 32`` bytes of pixels: the planes red, green and blue in turn, each row by row. A file
is any number of records and nothing else. That for Python has the same in pickles.
"""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import UInt8

from pcbench.data.base import VARIABLE, DatasetCorruptError, Places, Split
from pcbench.data.labelled import (
    MOST_IMAGES,
    Files,
    FileVersion,
    ImageDataset,
    Labelled,
    LabelledParameters,
    opened,
    require_classes,
    version_of,
)
from pcbench.data.published import Published
from pcbench.data.python_batches import records_of

FILES: dict[Split, str] = {"train": "data_batch_*.bin", "test": "test_batch.bin"}
FOLDER, ARCHIVE = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
PYTHON_FILES: dict[Split, str] = {"train": "data_batch_*", "test": "test_batch"}
PYTHON_FOLDER = "cifar-10-batches-py"  # torchvision's
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS
MOST_BYTES = MOST_IMAGES * RECORD


@lru_cache(maxsize=2)  # both splits of the original: 184 MB
def read_records(files: tuple[FileVersion, ...], split: Split) -> UInt8[np.ndarray, "N 3073"]:
    """Read the records of a split from its files, or from the archive, in the order of names."""
    first = files[0][0]
    if first.name == ARCHIVE:
        members = _members(first, FILES[split])
        if not members:
            raise DatasetCorruptError(f"{first} has no member {FILES[split]}")
        return np.concatenate(
            [_records(members[name], f"{name} in {first}") for name in sorted(members)]
        )
    if sum(size for _, _, size in files) > MOST_BYTES:
        raise DatasetCorruptError(
            f"{first.parent} holds more than {MOST_IMAGES} records of CIFAR-10"
        )
    read = []
    for path, _, size in files:
        with opened(path) as stream:
            read.append(_records(stream.read(size), str(path)))
    return np.concatenate(read)


def _records(content: bytes, source: str) -> UInt8[np.ndarray, "N 3073"]:
    if not content:
        raise DatasetCorruptError(f"{source} is empty")
    if PurePosixPath(source).parent.name == PYTHON_FOLDER:
        records = records_of(content, source, PIXELS)
        require_classes(records[:, 0], source)
        return records
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
        self._stream, self._path = stream, path
        self._left = MOST_BYTES + 2**20  # for headers, padding and two short texts

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise DatasetCorruptError(f"{self._path} unpacks to more than {MOST_IMAGES} records")
        return content


class Cifar10Parameters(LabelledParameters):
    """Parameters of the dataset ``cifar10``."""

    published: ClassVar = {"train": 50_000, "test": 10_000}
    name: Literal["cifar10"]


class Cifar10(ImageDataset):
    """CIFAR-10 (Krizhevsky, 2009), or a part of it in the same files."""

    name = "cifar10"
    description = "Colour photographs, 3 × 32 × 32, ten classes, from the binary distribution"
    Parameters = Cifar10Parameters
    # Size and digest: the checksums of TensorFlow Datasets.
    published = (
        Published(
            f"cifar10/{ARCHIVE}",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            (f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",),
        ),
    )
    size = (3, 32, 32)
    mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)  # of red, green and blue

    @classmethod
    def _find(cls, place: Path, split: Split) -> Iterator[Files]:
        """Yield the directory of the split's files, the archive, and the directory for Python."""
        for parent in (place / "cifar10", place):
            if any((parent / FOLDER).glob(FILES[split])):
                yield (parent / FOLDER,)
            if os.path.exists(parent / ARCHIVE):
                yield (parent / ARCHIVE,)
            if any((parent / PYTHON_FOLDER).glob(PYTHON_FILES[split])):
                yield (parent / PYTHON_FOLDER,)

    @classmethod
    def files(cls, places: Places) -> dict[str, Path]:
        """Return the archive, or all files of the directory."""
        found: dict[str, Path] = {}
        for split, place in super().files(places).items():
            inside = sorted(place.iterdir()) if place.is_dir() else [place]
            found |= {f"{split} {path.name}": path for path in inside}
        return found

    def _wanted(self, split: Split) -> str:
        return (
            f"{ARCHIVE}, or {FOLDER}/ with {FILES[split]}, or {PYTHON_FOLDER}/, in cifar10/ under "
            f"{self.places}, or set {VARIABLE} to a directory that holds cifar10/"
        )

    def _read(self, found: Files, split: Split) -> Labelled:
        [place] = found
        pattern = PYTHON_FILES[split] if place.name == PYTHON_FOLDER else FILES[split]
        files = [place] if place.name == ARCHIVE else sorted(place.glob(pattern))
        records = read_records(tuple(map(version_of, files)), split)
        return records[:, 1:], records[:, 0]
