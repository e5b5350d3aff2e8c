"""Hessians of any network, at any point and size."""

from pcbench.cases.hessian_spectrum.case import HessianSpectrum

__all__ = ["HessianSpectrum"]
