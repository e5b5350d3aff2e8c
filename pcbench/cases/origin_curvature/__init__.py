"""Curvature at the origin of networks with activations."""

from pcbench.cases.origin_curvature.case import OriginCurvature

__all__ = ["OriginCurvature"]
