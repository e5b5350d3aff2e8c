"""Whether predictive coding leaves saddles sooner, and whether it finds more of a slope there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pcbench.cases.matrix_completion.draws import Draws
from pcbench.cases.matrix_completion.escape import SaddleEscapes
from pcbench.cases.matrix_completion.path import Saddle
from pcbench.cases.matrix_completion.ways import Way
from pcbench.checks import Check
from pcbench.claims import Claim
from pcbench.judges.claims import Question, Ratios, answers

FIGURE_6 = "figure 6 (arXiv:2408.11979)"


@dataclass(frozen=True, slots=True)
class Claims:
    """Both learners' escapes from the same saddles, compared draw by draw."""

    draws: Draws
    saddles: Sequence[Saddle]
    escapes: dict[Way, SaddleEscapes]

    def sooner(self, rank: int, *, required: bool) -> Iterator[Claim | Check]:
        """Ask for every way of PC whether it leaves saddles of a rank in fewer steps than BP."""
        asked = {
            Question(
                name="PC leaves saddles in fewer steps than BP",
                setting=f"{way.scaling} scaling, {way.masking} masking, rank {rank}",
                check=f"{way}: steps to leave rank {rank}, times those of BP",
                source=FIGURE_6,
                required=required,
                published="published" in (way.scaling, way.masking),
                longer="escape.steps",
                more="draws",
                waiver=f"leave {rank} out of sooner",
            ): self.times(way, rank)
            for way in self._ways()
        }
        step = self.draws.samples * self.draws.outputs / 2
        return answers(
            asked,
            f"what is published is a step {step:g} times BP's, or targets that BP does not see",
        )

    def steeper(self, rank: int, *, required: bool) -> Iterator[Claim | Check]:
        """Ask whether BP's gradient at saddles of a rank is smaller than PC's.

        Gradients are as the contract normalises them, whatever the scaling of a way: only masking
        tells ways apart.
        """
        ways = self._ways()
        asked = {
            Question(
                name="BP has less of a gradient at saddles than PC",
                setting=f"{way.masking} masking, rank {rank}",
                check=f"gradient of BP at saddles of rank {rank}, times that of PC"
                + (", published masking" if way.masking == "published" else ""),
                source=f"theory.md 2.7 and 3.2; {FIGURE_6}" if rank == 0 else FIGURE_6,
                required=required,
                published=way.masking == "published",
                longer="escape.steps",
                more="draws",
                waiver=f"leave {rank} out of sooner",
            ): self.norms(way, rank)
            for way in ways
            if way.scaling == ways[0].scaling
        }
        return answers(asked, "what is published are targets that BP does not see")

    def _ways(self) -> list[Way]:
        return [way for way in self.escapes if way.learner == "PC"]

    def times(self, way: Way, rank: int) -> Ratios:
        """How many times as long PC takes, going that way, as BP does in the same scaling."""
        ours, theirs, at = *self._pair(way), self.escapes[way].at(rank)
        return Ratios.of_times(ours.times[at], theirs.times[at], (ours.lost[at], theirs.lost[at]))

    def norms(self, way: Way, rank: int) -> Ratios:
        """How many times as large BP's gradient is at saddles of a rank as that of PC."""
        ours, theirs = (each.first_gradients[each.at(rank)] for each in self._pair(way))
        return Ratios.of_norms(theirs, ours)

    def _pair(self, way: Way) -> tuple[SaddleEscapes, SaddleEscapes]:
        return self.escapes[way], self.escapes[way.opponent]
