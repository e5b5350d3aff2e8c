"""A hunt for saddles that are not strict."""

from pcbench.cases.critical_points.case import CriticalPoints

__all__ = ["CriticalPoints"]
