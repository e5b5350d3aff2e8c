"""What inference costs, and by which steps it gets there."""

from pcbench.cases.inference_cost.case import InferenceCost

__all__ = ["InferenceCost"]
