"""Spectra of symmetric operators that are known by their products alone."""

from pcbench.spectra.density import Density, spectral_density
from pcbench.spectra.extremes import Eigenpair, Extremes, extreme_eigenpairs
from pcbench.spectra.lanczos import Krylov, NotNumbersError
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
