"""How many steps and how much time PC and BP take to leave the origin."""

from pcbench.cases.origin_escape.case import OriginEscape

__all__ = ["OriginEscape"]
