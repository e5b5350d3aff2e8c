"""Two reports: what changed, and whether that is a regression.

:func:`pcbench.compare.console.render_comparison` prints the answer.
"""

from pcbench.compare.comparison import compare
from pcbench.compare.model import Change, Comparison, PairedTiming, Side

__all__ = ["Change", "Comparison", "PairedTiming", "Side", "compare"]
