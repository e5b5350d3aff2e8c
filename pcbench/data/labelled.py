"""What datasets of ten classes share: files, the choice of samples, normalisation, targets."""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np
from jaxtyping import Float, Shaped, UInt8
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


Labelled = tuple[UInt8[np.ndarray, "N *size"], UInt8[np.ndarray, " N"]]  # pixels and labels
Files = tuple[Path, ...]  # what a split is read from

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


def drawn(
    inputs: Shaped[np.ndarray, "N *size"],
    labels: UInt8[np.ndarray, " N"],
    parameters: LabelledParameters,
    rng: np.random.Generator,
    convert: Callable[[Shaped[np.ndarray, "n *size"]], Float[np.ndarray, "n channels *size"]],
) -> Samples:
    """Choose samples without replacement, convert their inputs, and code their labels one-hot."""
    if parameters.samples > len(inputs):
        raise DatasetTooSmallError(
            f"{parameters.name}'s {parameters.split} split holds {len(inputs)} samples here, and "
            f"{parameters.samples} are asked for; ask for at most {len(inputs)}"
        )
    chosen = rng.choice(len(inputs), parameters.samples, replace=False)
    x = convert(inputs[chosen])
    flat = parameters.shape == "flat"
    return Samples(x.reshape(len(x), -1) if flat else x, np.eye(N_CLASSES)[labels[chosen]])


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
    def _find(cls, place: Path, split: Split) -> Iterator[Files]:
        """Yield what a split can be read from, of what is all in this place."""

    @abstractmethod
    def _wanted(self, split: Split) -> str:
        """Say what should be put where, to follow "put"."""

    @abstractmethod
    def _read(self, found: Files, split: Split) -> Labelled: ...

    @classmethod
    def locate(cls, places: Places) -> dict[Split, Path | None]:
        """Return what each split is read from, of several files the first."""
        return {split: files[0] if files else None for split, files in cls._found(places)}

    @classmethod
    def files(cls, places: Places) -> dict[str, Path]:
        """Return all files of both splits."""
        return {
            f"{split} {index}": path
            for split, files in cls._found(places)
            for index, path in enumerate(files or ())
        }

    @classmethod
    def _found(cls, places: Places) -> Iterator[tuple[Split, Files | None]]:
        for split in get_args(Split):
            yield split, next(places.find(partial(cls._find, split=split)), None)

    def load(self, rng: np.random.Generator) -> Samples:
        """Return chosen images, flat or ``(N, channels, height, width)``, and their classes.

        Files that are not sound are passed over where others are.
        """
        unsound: list[str] = []
        pixels, labels = self._first_sound(unsound)
        shift, scale = np.array([self.mean, self.std])[..., None, None]

        def normalised(chosen: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
            x = chosen.reshape(-1, *self.size).astype(np.float64)
            normal: Float[np.ndarray, "..."] = (x / 255 - shift) / scale
            return normal

        samples = drawn(pixels, labels, self.parameters, rng, normalised)
        return replace(samples, passed_over=tuple(unsound))

    def _first_sound(self, unsound: list[str]) -> Labelled:
        """Read the split; note why files before those that are read are not sound."""
        split = self.parameters.split
        for found in self.places.find(partial(self._find, split=split)):
            try:
                return self._read(found, split)
            except DatasetCorruptError as error:
                unsound.append(str(error))
        if unsound:
            raise DatasetCorruptError("; ".join(unsound))
        fetch = f"run pcbench data fetch {self.name}, or " if self.published else ""
        raise DatasetMissingError(
            f"the {split} split of {self.name} is not on this machine: {fetch}put "
            f"{self._wanted(split)}"
        )
