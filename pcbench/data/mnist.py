"""MNIST and Fashion-MNIST: 28 × 28 grey images of ten classes, from IDX files on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from pcbench.data.base import Dataset, DatasetMissingError, Samples, Split
from pcbench.data.files import FileVersion
from pcbench.data.idx import read_pair
from pcbench.data.labelled import LabelledParameters, as_samples, choose, standardise
from pcbench.data.locate import VARIABLE, Places

PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
PUBLISHED: dict[Split, int] = {"train": 60_000, "test": 10_000}  # of either
IMAGES, LABELS = "images{}idx3-ubyte", "labels{}idx1-ubyte"


class IdxDataset(Dataset[LabelledParameters]):
    """What the two share: four IDX files, gzipped or plain, in a folder of the dataset's own.

    Pixels become ``(pixel / 255 - mean) / std``; targets are one-hot ``(N, 10)``.
    """

    folders: ClassVar[tuple[str, ...]]
    mean: ClassVar[tuple[float]]
    std: ClassVar[tuple[float]]

    @classmethod
    def locate(cls, places: Places) -> dict[Split, Path | None]:
        """Return the file of images of each split, where its labels are there too."""
        found = {split: cls._find(places, split) for split in PREFIX}
        return {split: pair and pair[0] for split, pair in found.items()}

    def load(self, rng: np.random.Generator) -> Samples:
        """Return chosen images, ``(N, 784)`` or ``(N, 1, 28, 28)``, and their classes ``(N, 10)``.

        Raises
        ------
        DatasetMissingError, DatasetCorruptError, DatasetTooSmallError
            As :meth:`pcbench.data.Dataset.load` says.
        """
        split, shape = self.parameters.split, self.parameters.shape
        found = self._find(self.places, split)
        if found is None:
            prefix = PREFIX[split]
            raise DatasetMissingError(
                f"the {split} split of {self.name} is not on this machine: put "
                f"{prefix}-{IMAGES.format('-')}[.gz] and {prefix}-{LABELS.format('-')}[.gz] in "
                f"{' or '.join(self.folders)} under {self.places}, or set {VARIABLE} to a "
                f"directory that holds {self.folders[0]}"
            )
        images, labels = read_pair(FileVersion.of(found[0]), FileVersion.of(found[1]))
        chosen = choose(len(images), self.parameters, rng)
        x = standardise(images[chosen], self.mean, self.std)
        return as_samples(x, labels[chosen], shape)

    @classmethod
    def _find(cls, places: Places, split: Split) -> tuple[Path, Path] | None:
        def find(place: Path) -> tuple[Path, Path] | None:
            for folder in cls.folders:
                images = _spelled(place / folder, f"{PREFIX[split]}-{IMAGES}")
                labels = _spelled(place / folder, f"{PREFIX[split]}-{LABELS}")
                if images and labels:
                    return images, labels
            return None

        return places.first(find)


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
