"""What datasets of ten classes share: parameters, the choice of samples, normalisation, targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int, UInt8
from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from pcbench.data.base import (
    DatasetCorruptError,
    DatasetParameters,
    DatasetTooSmallError,
    Samples,
    Shape,
    Split,
)

N_CLASSES = 10

# The largest split of any dataset here has 60,000 images. A file that promises more than this is
# not one of theirs, and is refused before memory is set aside for it.
MOST_IMAGES = 100_000


class LabelledParameters(DatasetParameters):
    """Parameters of a dataset of ten classes, with a training and a test split.

    Attributes
    ----------
    published
        How many samples each split has as published, where that is known without its files; those
        on a machine may be a part of it.
    """

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
    """Choose ``N = parameters.samples`` of the ``available`` samples, without replacement.

    Raises
    ------
    DatasetTooSmallError
        If there are fewer.
    """
    if parameters.samples > available:
        raise DatasetTooSmallError(
            f"{parameters.name}'s {parameters.split} split holds {available} samples here, and "
            f"{parameters.samples} are asked for; ask for at most {available}"
        )
    chosen: Int[np.ndarray, " N"] = rng.choice(available, parameters.samples, replace=False)
    return chosen


def standardise(
    pixels: UInt8[np.ndarray, "N channels height width"],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Float[np.ndarray, "N channels height width"]:
    """Return ``(pixels / 255 - mean) / std`` in float64.

    ``mean`` and ``std`` have one number a channel, in units of the pixel range ``[0, 1]``.
    """
    shift, scale = np.array([mean, std])[..., None, None]
    standardised: Float[np.ndarray, "N channels height width"]
    standardised = (pixels.astype(np.float64) / 255 - shift) / scale
    return standardised


def as_samples(
    x: Float[np.ndarray, "N channels *size"], labels: UInt8[np.ndarray, " N"], shape: Shape
) -> Samples:
    """Pair inputs in the wanted shape with one-hot targets ``(N, 10)``."""
    return Samples(x=x.reshape(len(x), -1) if shape == "flat" else x, y=np.eye(N_CLASSES)[labels])


def require_classes(labels: UInt8[np.ndarray, " N"], source: str) -> None:
    """Refuse labels outside ``0, …, 9``, naming the file they come from.

    Raises
    ------
    DatasetCorruptError
        If there is such a label.
    """
    if labels.max() >= N_CLASSES:
        raise DatasetCorruptError(f"{source} holds the label {labels.max()}, outside 0 to 9")
