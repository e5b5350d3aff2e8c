"""What a dataset is: a name, its parameters, and a way to load samples or say why it cannot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from pcbench.data.locate import Places

if TYPE_CHECKING:
    from pathlib import Path

Shape = Literal["flat", "image"]
Split = Literal["train", "test"]


class DatasetParameters(BaseModel):
    """What every dataset understands; a dataset subclasses it to add its own.

    ``samples`` is drawn without replacement from the split by the case's own random stream, so the
    same suite, seed and case see the same samples whatever else runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    samples: PositiveInt = Field(64, description="How many samples to draw.")


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs and targets, one sample a row, in float64.

    Attributes
    ----------
    x
        Inputs: flat ``(N, d_0)``, images ``(N, channels, height, width)`` or signals
        ``(N, channels, length)``.
    y
        Targets, ``(N, d_L)``: one-hot classes or real vectors.
    observed
        Which of the targets are observed, ``(N, d_L)``; ``None`` if all are. The others hold what
        is true there, which a network is not to see.
    """

    x: Float[np.ndarray, "N *shape"]
    y: Float[np.ndarray, "N d_L"]
    observed: Bool[np.ndarray, "N d_L"] | None = None


P = TypeVar("P", bound=DatasetParameters)


class Dataset(ABC, Generic[P]):
    """A source of samples. Subclass it and name the class in the group ``pcbench.datasets``."""

    name: ClassVar[str]
    description: ClassVar[str]
    Parameters: ClassVar[type[DatasetParameters]]

    def __init__(self, parameters: P, places: Places) -> None:
        self.parameters = parameters
        self.places = places

    @classmethod
    def locate(cls, places: Places) -> dict[Split, Path | None]:
        """Return where each split would be read from, opening nothing; ``None`` where it is absent.

        Empty for a dataset that needs no files. This is what ``pcbench doctor`` shows.
        """
        return {}

    @abstractmethod
    def load(self, rng: np.random.Generator) -> Samples:
        """Return ``parameters.samples`` samples, chosen by ``rng``.

        Raises
        ------
        DatasetMissingError
            If the files are not on this machine.
        DatasetCorruptError
            If a file is there and is not what it should be.
        DatasetTooSmallError
            If the split holds fewer samples than that.
        """


class DatasetError(Exception):
    """A dataset cannot be loaded; the message is one sentence with the reason and the remedy."""


class DatasetMissingError(DatasetError):
    """The files are not here. The message names them, where they belong, and the remedy."""


class DatasetCorruptError(DatasetError):
    """A file is not what it should be. The message names the file and what is wrong with it."""


class DatasetTooSmallError(DatasetError):
    """The split holds fewer samples than asked for. The message gives both numbers."""
