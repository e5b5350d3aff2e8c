"""Saddles of every rank on the way to completing a matrix."""

from pcbench.cases.matrix_completion.case import MatrixCompletion

__all__ = ["MatrixCompletion"]
