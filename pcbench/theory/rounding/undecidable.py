"""What is raised where numbers cannot decide; on its own, for it is light to import."""

from __future__ import annotations


class UndecidableError(ArithmeticError):
    """Float64 cannot decide what must be true here; the message says why."""
