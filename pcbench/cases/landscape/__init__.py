"""Slices of the landscape, and the paths that training takes on them."""

from pcbench.cases.landscape.case import Landscape

__all__ = ["Landscape"]
