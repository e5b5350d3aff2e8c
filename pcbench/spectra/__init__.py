"""Spectra of symmetric operators that are known by their products alone."""

from pcbench.spectra.lanczos import (
    Density,
    Eigenpair,
    Extremes,
    Krylov,
    NotNumbersError,
    extreme_eigenpairs,
    spectral_density,
)
from pcbench.spectra.operator import HessianOperator, dense

__all__ = [
    "Density",
    "Eigenpair",
    "Extremes",
    "HessianOperator",
    "Krylov",
    "NotNumbersError",
    "dense",
    "extreme_eigenpairs",
    "spectral_density",
]
