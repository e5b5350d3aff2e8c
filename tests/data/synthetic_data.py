"""Small files in the formats of the image datasets, for tests that break them."""

import gzip
import io
import struct
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np

RECORD = 3073
TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def pixels_and_labels(n, shape, seed=0):
    """Random bytes; every class occurs in turn."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10


def idx(array):
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write(path: Path, content: bytes) -> Path:
    """Write the bytes, gzipped if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def write_idx_split(folder, n=20, prefix="train", dot="-", gz=".gz", seed=0):
    """Write a split of n images and return what was written."""
    images, labels = pixels_and_labels(n, (28, 28), seed)
    write(folder / f"{prefix}-images{dot}idx3-ubyte{gz}", idx(images))
    write(folder / f"{prefix}-labels{dot}idx1-ubyte{gz}", idx(labels))
    return images, labels


def cifar_records(n, seed=0):
    pixels, labels = pixels_and_labels(n, (3072,), seed)
    return np.concatenate([labels[:, None], pixels], axis=1)


def peak_memory(work):
    """Do the work and return the most memory it held at once, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def tar(members, links=()):
    """Pack a tar of files by name, and of links (name, target, type)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target, kind in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return packed.getvalue()
