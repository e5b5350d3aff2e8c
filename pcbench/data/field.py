"""The type of a case's ``data`` parameter: any dataset's parameters, told apart by their name."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import SerializeAsAny

from pcbench.data.base import DatasetParameters
from pcbench.data.loading import parameters_class
from pcbench.named import ModelOf
from pcbench.registry import DATASETS

DataField: TypeAlias = Annotated[
    SerializeAsAny[DatasetParameters], ModelOf(DATASETS, parameters_class, bare=True)
]
"""Accepts ``{name: mnist1d, samples: 64}``, ``mnist1d``, or a dataset's built parameters."""
