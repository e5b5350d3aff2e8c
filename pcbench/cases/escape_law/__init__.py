"""How escape times grow as initial weights shrink."""

from pcbench.cases.escape_law.case import EscapeLaw

__all__ = ["EscapeLaw"]
