"""The IDX format, in which MNIST and Fashion-MNIST are distributed.

A file of ``n`` images begins with the magic number ``00 00 08 03``, for unsigned bytes on 3 axes,
and the sizes ``n``, ``28``, ``28`` as big-endian 32-bit integers; the pixels follow row by row. A
file of labels has the magic number ``00 00 08 01``, the one size ``n``, and a byte a label.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8

from pcbench.data.base import DatasetCorruptError
from pcbench.data.files import FileVersion, opened
from pcbench.data.labelled import MOST_IMAGES, require_classes

SIDE = 28
UNSIGNED_BYTES = 8
CONTENT = {1: "labels", 3: "images"}


def read_pair(
    images: FileVersion, labels: FileVersion
) -> tuple[UInt8[np.ndarray, "N 1 28 28"], UInt8[np.ndarray, " N"]]:
    """Read a split's images and labels.

    Raises
    ------
    DatasetCorruptError
        If either file is not what it should be, or one holds more than the other.
    """
    pixels = _read(images, (SIDE, SIDE))
    classes = _read(labels, ())
    require_classes(classes, str(labels.path))
    if len(pixels) != len(classes):
        raise DatasetCorruptError(
            f"{images.path} holds {len(pixels)} images, but {labels.path} {len(classes)} labels"
        )
    return pixels[:, None], classes


@lru_cache(maxsize=8)  # both files of both splits of two datasets: 110 MB
def _read(file: FileVersion, item: tuple[int, ...]) -> UInt8[np.ndarray, "N *item"]:
    """Read an array of unsigned bytes, of items of that shape along its first axis."""
    path, n_axes = file.path, 1 + len(item)
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
