"""Theorem 3: the Hessians at saddles of rank zero."""

from pcbench.cases.zero_rank_saddle.case import ZeroRankSaddle

__all__ = ["ZeroRankSaddle"]
