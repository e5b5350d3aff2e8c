"""What datasets of ten classes share: files, the choice of samples, normalisation, targets."""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np
from jaxtyping import Float, Int, UInt8
from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from pcbench.data.base import (
    Dataset,
    DatasetCorruptError,
    DatasetMissingError,
    DatasetParameters,
    DatasetTooSmallError,
    Places,
    Samples,
    Shape,
    Split,
)

FileVersion = tuple[Path, int, int]
"""A file as it stands, with its last modification in ns since the epoch and its size in bytes."""


def version_of(path: Path) -> FileVersion:
    """Look at a file without opening it; what is returned is a key to remember its content by."""
    with _explained(path):
        status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe, say, would wait for ever
        raise DatasetCorruptError(f"{path} is not a regular file, and one is due there")
    return path, status.st_mtime_ns, status.st_size


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a file for reading, decompressed if its name ends in ``.gz``."""
    with _explained(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        yield stream


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the operating system and gzip raise into a sentence."""
    try:
        yield
    except EOFError as error:
        raise DatasetCorruptError(f"{path} is truncated: its gzip stream ends early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DatasetCorruptError(f"{path} is not a sound gzip file: {error}") from error
    except OSError as error:
        raise DatasetCorruptError(f"{path} cannot be read: {error.strerror or error}") from error


Labelled = tuple[UInt8[np.ndarray, "N *size"], UInt8[np.ndarray, " N"]]
"""Pixels and labels."""

Files = tuple[Path, ...]
"""What a split is read from."""

N_CLASSES = 10

# The largest split of any dataset here has 60,000 images. A file that promises more than this is
# not one of theirs, and is refused before memory is set aside for it.
MOST_IMAGES = 100_000


class LabelledParameters(DatasetParameters):
    """Parameters of a dataset of ten classes, with a training and a test split."""

    # Samples of each split as published; those on a machine may be a part of it.
    published: ClassVar[Mapping[Split, int]] = {}

    split: Split = Field("train", description="Which split to draw from.")
    shape: Shape = Field("flat", description="Inputs as vectors, or as channels × size.")

    @model_validator(mode="after")
    def _no_more_than_published(self) -> LabelledParameters:
        most = self.published.get(self.split, self.samples)
        if self.samples > most:
            reason = f"{self.name}'s {self.split} split has {most}; ask for at most that many"
            error = PydanticCustomError("samples", "{reason}", {"reason": reason})
            details = InitErrorDetails(type=error, loc=("samples",), input=self.samples)
            raise ValidationError.from_exception_data("data", [details])
        return self


def choose(
    available: int, parameters: LabelledParameters, rng: np.random.Generator
) -> Int[np.ndarray, " N"]:
    """Choose ``N = parameters.samples`` of the ``available`` samples, without replacement."""
    if parameters.samples > available:
        raise DatasetTooSmallError(
            f"{parameters.name}'s {parameters.split} split holds {available} samples here, and "
            f"{parameters.samples} are asked for; ask for at most {available}"
        )
    chosen: Int[np.ndarray, " N"] = rng.choice(available, parameters.samples, replace=False)
    return chosen


def as_samples(
    x: Float[np.ndarray, "N channels *size"], labels: UInt8[np.ndarray, " N"], shape: Shape
) -> Samples:
    """Pair inputs in the wanted shape with one-hot targets ``(N, 10)``."""
    return Samples(x=x.reshape(len(x), -1) if shape == "flat" else x, y=np.eye(N_CLASSES)[labels])


def require_classes(labels: UInt8[np.ndarray, " N"], source: str) -> None:
    """Refuse labels outside ``0, …, 9``, naming the file they come from."""
    if labels.max() >= N_CLASSES:
        raise DatasetCorruptError(f"{source} holds the label {labels.max()}, outside 0 to 9")


class ImageDataset(Dataset[LabelledParameters]):
    """Images of ten classes, read from files.

    Pixels become ``(pixel / 255 - mean) / std``; targets are one-hot ``(N, 10)``.
    """

    size: ClassVar[tuple[int, int, int]]  # channels × height × width
    mean: ClassVar[tuple[float, ...]]  # of each channel, in units of the pixel range [0, 1]
    std: ClassVar[tuple[float, ...]]

    @classmethod
    @abstractmethod
    def _find(cls, place: Path, split: Split) -> Files | None:
        """Return what a split is read from, if it is all in this place."""

    @abstractmethod
    def _wanted(self, split: Split) -> str:
        """Say what should be put where, to follow "put"."""

    @abstractmethod
    def _read(self, found: Files, split: Split) -> Labelled: ...

    @classmethod
    def locate(cls, places: Places) -> dict[Split, Path | None]:
        """Return what each split is read from, of several files the first."""
        found = {split: places.first(partial(cls._find, split=split)) for split in get_args(Split)}
        return {split: files and files[0] for split, files in found.items()}

    def load(self, rng: np.random.Generator) -> Samples:
        """Return chosen images, flat or ``(N, channels, height, width)``, and their classes."""
        split = self.parameters.split
        found = self.places.first(partial(self._find, split=split))
        if found is None:
            raise DatasetMissingError(
                f"the {split} split of {self.name} is not on this machine: put "
                f"{self._wanted(split)}"
            )
        pixels, labels = self._read(found, split)
        chosen = choose(len(pixels), self.parameters, rng)
        shift, scale = np.array([self.mean, self.std])[..., None, None]
        x = pixels[chosen].reshape(-1, *self.size).astype(np.float64)
        return as_samples((x / 255 - shift) / scale, labels[chosen], self.parameters.shape)
