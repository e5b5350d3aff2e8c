"""Figures, from reports alone: matplotlib (extra ``plot``), the same bytes every time."""

from pcbench.figures.drawing import Drawn, draw_report

__all__ = ["Drawn", "draw_report"]
