"""How a learner may train from a saddle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pcbench.judges.training.curves import Scaling

Masking = Literal["matched", "published"]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to train from a saddle.

    Attributes
    ----------
    learner
        ``BP`` or ``PC``.
    scaling
        How gradients are scaled.
    masking
        Whether targets that are not observed count. Backpropagation never sees them.
    """

    learner: str
    scaling: Scaling
    masking: Masking

    def __str__(self) -> str:
        published = [
            what
            for what, how in (("scaling", self.scaling), ("masking", self.masking))
            if how == "published"
        ]
        return f"{self.learner}, published {' and '.join(published)}" if published else self.learner

    @property
    def opponent(self) -> Way:
        """How BP goes, against which PC is compared: it never sees what is masked."""
        return Way("BP", self.scaling, "matched")
