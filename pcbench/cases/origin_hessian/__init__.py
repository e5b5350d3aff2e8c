"""Theorem 2: the Hessians at the origin."""

from pcbench.cases.origin_hessian.case import OriginHessian

__all__ = ["OriginHessian"]
