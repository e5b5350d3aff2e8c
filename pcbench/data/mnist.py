"""MNIST and Fashion-MNIST: 28 × 28 grey images of ten classes, from IDX files on this machine.

An IDX file of ``n`` images begins with the magic number ``00 00 08 03``, for unsigned bytes on 3
axes, and the sizes ``n``, ``28``, ``28`` as big-endian 32-bit integers; the pixels follow row by
row. A file of labels has the magic number ``00 00 08 01``, the one size ``n``, and a byte a label.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
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
from pcbench.data.published import Published

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
    def _find(cls, place: Path, split: Split) -> Iterator[Files]:
        """Yield files of images and of labels, where both are in one folder."""
        for folder in cls.folders:
            images, labels = (
                _spelled(place / folder, f"{PREFIX[split]}-{name}") for name in (IMAGES, LABELS)
            )
            # Where there are several of either, plain and gzipped, the first goes with the first.
            most = max(len(images), len(labels))
            if images and labels:
                for index in range(most):
                    yield images[min(index, len(images) - 1)], labels[min(index, len(labels) - 1)]


def _spelled(folder: Path, name: str) -> list[Path]:
    """Return the files of that name, as ``…-idx3-ubyte`` or ``….idx3-ubyte``, plain or gzipped."""
    spellings = (folder / (name.format(dot) + gz) for dot in "-." for gz in ("", ".gz"))
    return [path for path in spellings if os.path.exists(path)]


# Name, size in bytes, and digests of the file (the checksums of TensorFlow Datasets) and of what it
# holds.
_Rows = tuple[tuple[str, int, str, str], ...]


def _published(folder: str, rows: _Rows, *sources: str) -> tuple[Published, ...]:
    def published(name: str, size: int, sha256: str, content: str) -> Published:
        urls = tuple(f"{source}{name}" for source in sources)
        return Published(f"{folder}/{name}", size, sha256, urls, content)

    return tuple(published(*row) for row in rows)


class MnistParameters(LabelledParameters):
    """Parameters of the dataset ``mnist``."""

    published: ClassVar = PUBLISHED
    name: Literal["mnist"]


class Mnist(IdxDataset):
    """MNIST (LeCun, Cortes and Burges): handwritten digits."""

    name = "mnist"
    description = "Handwritten digits, 28 × 28, ten classes, from IDX files"
    Parameters = MnistParameters
    published = _published(
        "mnist",
        (
            (
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            (
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            (
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            (
                "t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    )
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
    published = _published(
        "fashion-mnist",
        (
            (
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            (
                "train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            (
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            (
                "t10k-labels-idx1-ubyte.gz",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    folders = ("fashion-mnist/", "fashion_mnist/", "FashionMNIST/raw/")
    mean, std = (0.5,), (0.5,)
