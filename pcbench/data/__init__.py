"""What networks are studied on: datasets found by name, their places on disk, and their samples."""

from pcbench.data.base import (
    DataDirectoryError,
    DataField,
    Dataset,
    DatasetCorruptError,
    DatasetError,
    DatasetMissingError,
    DatasetParameters,
    DatasetTooSmallError,
    Places,
    Samples,
    dataset_class,
    digest,
    load,
)

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
    "dataset_class",
    "digest",
    "load",
]
