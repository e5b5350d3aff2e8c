"""The questions that pcbench asks, one file a kind, found by name through entry points."""

from pcbench.cases.base import (
    Case,
    CaseParameters,
    CaseSkippedError,
    Columns,
    Context,
    Finding,
    Measurement,
)

__all__ = [
    "Case",
    "CaseParameters",
    "CaseSkippedError",
    "Columns",
    "Context",
    "Finding",
    "Measurement",
]
