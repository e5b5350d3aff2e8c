"""MNIST and Fashion-MNIST: 28 × 28 grey images of ten classes, from IDX files on this machine.

An IDX file of ``n`` images begins with the magic number ``00 00 08 03``, for unsigned bytes on 3
axes, and the sizes ``n``, ``28``, ``28`` as big-endian 32-bit integers; the pixels follow row by
row. A file of labels has the magic number ``00 00 08 01``, the one size ``n``, and a byte a label.
"""

from __future__ import annotations

import math
import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import UInt8

from pcbench.data.base import VARIABLE, DatasetCorruptError, Split
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

SIDE = 28
UNSIGNED_BYTES = 8
CONTENT = {1: "labels", 3: "images"}


def read_pair(images: Path, labels: Path) -> Labelled:
    """Read a split's images and labels."""
    pixels = _read(version_of(images), (SIDE, SIDE))
    classes = _read(version_of(labels), ())
    require_classes(classes, str(labels))
    if len(pixels) != len(classes):
        raise DatasetCorruptError(
            f"{images} holds {len(pixels)} images, but {labels} {len(classes)} labels"
        )
    return pixels, classes


@lru_cache(maxsize=8)  # both files of both splits of two datasets: 110 MB
def _read(file: FileVersion, item: tuple[int, ...]) -> UInt8[np.ndarray, "N *item"]:
    """Read an array of unsigned bytes, of items of that shape along its first axis."""
    (path, *_), n_axes = file, 1 + len(item)
    with opened(path) as stream:
        magic = stream.read(4)
        if magic != bytes((0, 0, UNSIGNED_BYTES, n_axes)):
            raise DatasetCorruptError(f"{path} {_misfit(magic, n_axes)}")
        header = stream.read(4 * n_axes)
        if len(header) < 4 * n_axes:
            raise DatasetCorruptError(f"{path} is truncated: it ends within its header")
        sizes = struct.unpack(f">{n_axes}I", header)
        if sizes[1:] != item:
            raise DatasetCorruptError(
                f"{path} holds images of {sizes[1]} × {sizes[2]} pixels, not {SIDE} × {SIDE}"
            )
        if not 0 < sizes[0] <= MOST_IMAGES:
            raise DatasetCorruptError(
                f"{path} promises {sizes[0]} {CONTENT[n_axes]}, not between 1 and {MOST_IMAGES}"
            )
        promised = math.prod(sizes)
        content = stream.read(promised + 1)  # one more, to see whether the file goes on
    if len(content) != promised:
        holds = "more" if len(content) > promised else f"only {len(content)}"
        raise DatasetCorruptError(
            f"{path} promises {promised} bytes of {CONTENT[n_axes]} and holds {holds}"
        )
    return np.frombuffer(content, np.uint8).reshape(sizes)


def _misfit(magic: bytes, n_axes: int) -> str:
    """Say what a file is that does not begin as one with that many axes should."""
    if not magic:
        return "is empty"
    if len(magic) < 4:
        return "is truncated: it ends within its header"
    if magic[:3] == bytes((0, 0, UNSIGNED_BYTES)) and magic[3] in CONTENT:
        return f"holds {CONTENT[magic[3]]}, and {CONTENT[n_axes]} are due"
    return f"is not an IDX file of {CONTENT[n_axes]}: it begins with {magic.hex(' ')}"


PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
PUBLISHED: dict[Split, int] = {"train": 60_000, "test": 10_000}  # of either
IMAGES, LABELS = "images{}idx3-ubyte", "labels{}idx1-ubyte"


class IdxDataset(ImageDataset):
    """What the two share: four IDX files, gzipped or plain, in a folder of the dataset's own."""

    size = (1, SIDE, SIDE)
    folders: ClassVar[tuple[str, ...]]

    def _wanted(self, split: Split) -> str:
        prefix = PREFIX[split]
        return (
            f"{prefix}-{IMAGES.format('-')}[.gz] and {prefix}-{LABELS.format('-')}[.gz] in "
            f"{' or '.join(self.folders)} under {self.places}, or set {VARIABLE} to a "
            f"directory that holds {self.folders[0]}"
        )

    def _read(self, found: Files, split: Split) -> Labelled:
        return read_pair(*found)

    @classmethod
    def _find(cls, place: Path, split: Split) -> Files | None:
        """Return the files of images and of labels, where both are in one folder."""
        for folder in cls.folders:
            images = _spelled(place / folder, f"{PREFIX[split]}-{IMAGES}")
            labels = _spelled(place / folder, f"{PREFIX[split]}-{LABELS}")
            if images and labels:
                return images, labels
        return None


def _spelled(folder: Path, name: str) -> Path | None:
    """Return the file of that name, as ``…-idx3-ubyte`` or ``….idx3-ubyte``, plain or gzipped."""
    spellings = (folder / (name.format(dot) + gz) for dot in "-." for gz in ("", ".gz"))
    return next((path for path in spellings if os.path.exists(path)), None)


class MnistParameters(LabelledParameters):
    """Parameters of the dataset ``mnist``."""

    published: ClassVar = PUBLISHED
    name: Literal["mnist"]


class Mnist(IdxDataset):
    """MNIST (LeCun, Cortes and Burges): handwritten digits."""

    name = "mnist"
    description = "Handwritten digits, 28 × 28, ten classes, from IDX files"
    Parameters = MnistParameters
    folders = ("mnist/", "MNIST/raw/")  # torchvision's is the second
    mean, std = (0.1307,), (0.3081,)


class FashionMnistParameters(LabelledParameters):
    """Parameters of the dataset ``fashion_mnist``."""

    published: ClassVar = PUBLISHED
    name: Literal["fashion_mnist"]


class FashionMnist(IdxDataset):
    """Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): articles of clothing."""

    name = "fashion_mnist"
    description = "Articles of clothing, 28 × 28, ten classes, from IDX files"
    Parameters = FashionMnistParameters
    folders = ("fashion-mnist/", "fashion_mnist/", "FashionMNIST/raw/")
    mean, std = (0.5,), (0.5,)
