"""Datasets: parameters, places on disk, and a way to load samples or say why it cannot."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

import numpy as np
import platformdirs
from jaxtyping import Bool, Float, Shaped
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, SerializeAsAny

from pcbench.data.published import Published
from pcbench.errors import UsageError
from pcbench.named import ModelOf
from pcbench.registry import DATASETS

VARIABLE = "PCBENCH_DATA"

# Debian's packages of data, dataset-fashion-mnist among them, install here.
SYSTEM_FOLDERS = (Path("/usr/share/datasets"),)

T = TypeVar("T")


class DataDirectoryError(UsageError):
    """``PCBENCH_DATA`` does not name a directory that can be searched."""


@dataclass(frozen=True, slots=True)
class Places:
    """Data directories, in the order in which they are searched."""

    # Data directories; each holds one folder a dataset, such as ``mnist/``.
    folders: tuple[Path, ...]
    cache: Path  # where generated data are kept; created when first written to

    @classmethod
    def default(cls, environment: Mapping[str, str] = os.environ) -> Places:
        """Return ``$PCBENCH_DATA``, the user's cache directory and the system's folders of data."""
        cache = platformdirs.user_cache_path("pcbench")
        named = environment.get(VARIABLE)
        if not named:
            return cls((cache, *SYSTEM_FOLDERS), cache)
        if not (os.path.isdir(named) and os.access(named, os.X_OK)):
            raise DataDirectoryError(
                f"{VARIABLE} is {named!r}, which is not a directory that can be searched; "
                "set it to the directory that holds mnist/, fashion-mnist/ or cifar10/, or unset it"
            )
        return cls((Path(named).absolute(), cache, *SYSTEM_FOLDERS), cache)

    def find(self, find: Callable[[Path], Iterable[T]]) -> Iterator[T]:
        """Yield all that ``find`` finds, folder by folder."""
        return (found for folder in self.folders for found in find(folder))

    def __str__(self) -> str:
        return " or ".join(map(str, self.folders))


MOST = 1_000_000

Count = Annotated[PositiveInt, Field(le=MOST)]
"""How many there are of something that takes memory: what nobody can mean is refused at once."""

Shape = Literal["flat", "image"]
Split = Literal["train", "test"]


class DatasetParameters(BaseModel):
    """What every dataset understands; a dataset subclasses it to add its own.

    Samples are drawn without replacement by the case's own random stream: the same suite, seed and
    case see the same ones, whatever else runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    samples: Count = Field(64, description="How many samples to draw.")


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs and targets, one sample a row, in float64.

    ``x`` is flat ``(N, d_0)``, or images ``(N, channels, height, width)``, or signals
    ``(N, channels, length)``; ``y`` one-hot classes or real vectors. ``observed`` says which
    targets are, ``None`` if all; the others hold what is true there, which a network is not to see.
    """

    x: Float[np.ndarray, "N *shape"]
    y: Float[np.ndarray, "N d_L"]
    observed: Bool[np.ndarray, "N d_L"] | None = None
    # Files that were passed over, since they are not sound, each in a sentence.
    passed_over: tuple[str, ...] = ()

    def digest(self) -> str:
        """Return a digest of all of it."""
        return digest(each for each in (self.x, self.y, self.observed) if each is not None)


def digest(arrays: Iterable[Shaped[np.ndarray, "..."]]) -> str:
    """Return a digest of arrays, the same wherever the numbers are the same."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(f"{array.dtype.str} {array.shape}".encode())
        whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()[:16]


P = TypeVar("P", bound=DatasetParameters)


class Dataset(ABC, Generic[P]):
    """A source of samples. Subclass it and name the class in the group ``pcbench.datasets``."""

    name: ClassVar[str]
    description: ClassVar[str]
    Parameters: ClassVar[type[DatasetParameters]]
    # What ``pcbench data fetch`` fetches; nothing where the dataset needs no files.
    published: ClassVar[tuple[Published, ...]] = ()

    def __init__(self, parameters: P, places: Places) -> None:
        self.parameters, self.places = parameters, places

    @classmethod
    def locate(cls, places: Places) -> dict[Split, Path | None]:
        """Return where each split would be read from, opening nothing; ``None`` where it is absent.

        Empty for a dataset that needs no files. This is what ``pcbench doctor`` shows.
        """
        return {}

    @classmethod
    def files(cls, places: Places) -> dict[str, Path]:
        """Return all files that would be read, by what they are, opening nothing."""
        return {split: path for split, path in cls.locate(places).items() if path}

    @abstractmethod
    def load(self, rng: np.random.Generator) -> Samples:
        """Return ``parameters.samples`` samples, chosen by ``rng``.

        Raises
        ------
        DatasetError
            A ``DatasetMissingError``, ``DatasetCorruptError`` or ``DatasetTooSmallError``.
        """


class DatasetError(Exception):
    """A dataset cannot be loaded; the message is one sentence with the reason and the remedy."""


class DatasetMissingError(DatasetError):
    """The files are not here. The message names them, where they belong, and the remedy."""


class DatasetCorruptError(DatasetError):
    """A file is not what it should be. The message names the file and what is wrong with it."""


class DatasetTooSmallError(DatasetError):
    """The split holds fewer samples than asked for. The message gives both numbers."""


def dataset_class(name: str) -> type[Dataset[Any]]:
    """Return the dataset of that name."""
    return DATASETS.load_subclass(name, Dataset)


def load(parameters: DatasetParameters, rng: np.random.Generator, places: Places) -> Samples:
    """Return the samples that ``parameters`` ask for, chosen by ``rng``."""
    return dataset_class(parameters.name)(parameters, places).load(rng)


DataField: TypeAlias = Annotated[
    SerializeAsAny[DatasetParameters],
    ModelOf(DATASETS, lambda name: dataset_class(name).Parameters, bare=True),
]
"""Accepts ``{name: mnist1d, samples: 64}``, ``mnist1d``, or a dataset's built parameters."""
