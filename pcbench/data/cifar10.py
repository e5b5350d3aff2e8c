"""CIFAR-10: 32 × 32 colour images of ten classes, from its binary distribution on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import UInt8

from pcbench.data.base import Dataset, DatasetMissingError, Samples, Split
from pcbench.data.cifar_records import FILES, read_archive, read_files
from pcbench.data.files import FileVersion
from pcbench.data.labelled import LabelledParameters, as_samples, choose, standardise
from pcbench.data.locate import VARIABLE, Places

FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"

# Of red, green and blue, in units of the pixel range [0, 1].
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.247, 0.243, 0.261)


class Cifar10Parameters(LabelledParameters):
    """Parameters of the dataset ``cifar10``."""

    published: ClassVar = {"train": 50_000, "test": 10_000}
    name: Literal["cifar10"]


class Cifar10(Dataset[Cifar10Parameters]):
    """CIFAR-10 (Krizhevsky, 2009), or a part of it in the same files.

    Pixels become ``(pixel / 255 - mean) / std`` a channel; targets are one-hot ``(N, 10)``.
    """

    name = "cifar10"
    description = "Colour photographs, 3 × 32 × 32, ten classes, from the binary distribution"
    Parameters = Cifar10Parameters

    @classmethod
    def locate(cls, places: Places) -> dict[Split, Path | None]:
        """Return the directory or the archive of each split."""
        return {split: _find(places, split) for split in FILES}

    def load(self, rng: np.random.Generator) -> Samples:
        """Return chosen images, ``(N, 3072)`` or ``(N, 3, 32, 32)``, and their classes ``(N, 10)``.

        Raises
        ------
        DatasetMissingError, DatasetCorruptError, DatasetTooSmallError
            As :meth:`pcbench.data.Dataset.load` says.
        """
        split = self.parameters.split
        found = _find(self.places, split)
        if found is None:
            raise DatasetMissingError(
                f"the {split} split of {self.name} is not on this machine: put {ARCHIVE}, or "
                f"{FOLDER}/ with {FILES[split]}, in cifar10/ under {self.places}, or set "
                f"{VARIABLE} to a directory that holds cifar10/"
            )
        records = _read(found, split)
        chosen = records[choose(len(records), self.parameters, rng)]
        x = standardise(chosen[:, 1:].reshape(-1, 3, 32, 32), MEAN, STD)
        return as_samples(x, chosen[:, 0], self.parameters.shape)


def _find(places: Places, split: Split) -> Path | None:
    """Return the directory that holds the split's files, else the archive, in the first place."""

    def find(place: Path) -> Path | None:
        for parent in (place / "cifar10", place):
            if any((parent / FOLDER).glob(FILES[split])):
                return parent / FOLDER
            if os.path.exists(parent / ARCHIVE):
                return parent / ARCHIVE
        return None

    return places.first(find)


def _read(found: Path, split: Split) -> UInt8[np.ndarray, "N 3073"]:
    if found.name == ARCHIVE:
        return read_archive(FileVersion.of(found), split)
    return read_files(tuple(FileVersion.of(path) for path in sorted(found.glob(FILES[split]))))
