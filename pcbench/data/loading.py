"""From a dataset's name to its class, and from its parameters to samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from pcbench.data.base import Dataset, DatasetParameters, Samples
from pcbench.data.locate import Places
from pcbench.registry import DATASETS


def dataset_class(name: str) -> type[Dataset[Any]]:
    """Return the dataset of that name.

    Raises
    ------
    UnknownNameError
        If there is none.
    BrokenPluginError
        If it cannot be imported, or is not a :class:`Dataset`.
    """
    return DATASETS.load_subclass(name, Dataset)


def parameters_class(name: str) -> type[DatasetParameters]:
    """Return the parameters that the dataset of that name takes."""
    parameters: type[DatasetParameters] = dataset_class(name).Parameters
    return parameters


def load(parameters: DatasetParameters, rng: np.random.Generator, places: Places) -> Samples:
    """Return the samples that ``parameters`` ask for, chosen by ``rng``.

    Raises
    ------
    DatasetError
        If the dataset is missing, corrupt or too small.
    """
    return dataset_class(parameters.name)(parameters, places).load(rng)
