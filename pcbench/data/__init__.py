"""What networks are studied on: datasets found by name, their places on disk, and their samples."""

from pcbench.data.base import (
    Dataset,
    DatasetCorruptError,
    DatasetError,
    DatasetMissingError,
    DatasetParameters,
    DatasetTooSmallError,
    Samples,
    Shape,
    Split,
)
from pcbench.data.field import DataField
from pcbench.data.loading import dataset_class, load
from pcbench.data.locate import DataDirectoryError, Places

__all__ = [
    "DataDirectoryError",
    "DataField",
    "Dataset",
    "DatasetCorruptError",
    "DatasetError",
    "DatasetMissingError",
    "DatasetParameters",
    "DatasetTooSmallError",
    "Places",
    "Samples",
    "Shape",
    "Split",
    "dataset_class",
    "load",
]
