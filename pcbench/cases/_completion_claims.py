"""Whether predictive coding leaves saddles sooner: intervals over draws, and what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pcbench import checks
from pcbench.cases._account import COUNT
from pcbench.cases._completion_draws import Draws
from pcbench.cases._completion_escape import Escapes, Way
from pcbench.cases._completion_path import Saddle
from pcbench.checks import Check, Tolerance
from pcbench.statistics import Interval, median_interval, paired_ratio

FEWEST = 5
"""Pairs that all go one way by chance once in 32 times: with fewer there is no verdict."""

_NONE = 1e-300

FIGURE_6 = "figure 6 (arXiv:2408.11979)"


@dataclass(frozen=True, slots=True)
class Claims:
    """Both learners' escapes from the same saddles, compared draw by draw.

    Attributes
    ----------
    draws
        What was completed.
    saddles
        Where replicas began.
    escapes
        What became of them, by the way they went.
    """

    draws: Draws
    saddles: Sequence[Saddle]
    escapes: dict[Way, Escapes]

    def ranks(self) -> list[int]:
        """Return the ranks of which enough draws have a saddle."""
        found = [saddle.rank for saddle in self.saddles]
        return [rank for rank in sorted(set(found)) if found.count(rank) >= FEWEST]

    def ratio(self, way: Way, rank: int) -> Interval:
        """How many times as long PC takes, going that way, as BP does in the same scaling."""
        ours, theirs = self.escapes[way], self.escapes[opponent(way)]
        return paired_ratio(ours.of_rank(rank), theirs.of_rank(rank), interpolate=False)

    def sooner(self, rank: int) -> Iterator[Check]:
        """Check for every way of PC that it leaves the saddles of a rank in fewer steps than BP."""
        verdicts = {way: self._sooner(way, rank) for way in self.escapes if way.learner == "PC"}
        for way, verdict in verdicts.items():
            holding = [
                str(other)
                for other, its in verdicts.items()
                if its.passed and "published" in (other.scaling, other.masking)
            ]
            fair = (way.scaling, way.masking) == ("matched", "matched")
            if fair and holding and not verdict.passed:
                message = (
                    f"{verdict.message} It holds for {'; '.join(holding)}, where PC's step is "
                    f"{self.draws.samples * self.draws.outputs / 2:g} times BP's or PC sees what "
                    "BP does not, and not where both are matched."
                )
                verdict = verdict.model_copy(update={"message": message})
            yield verdict

    def _sooner(self, way: Way, rank: int) -> Check:
        interval = self.ratio(way, rank)
        theirs = self.escapes[opponent(way)].of_rank(rank)
        return checks.below(
            f"{way}: steps to leave rank {rank}, times those of BP",
            interval.high,
            1.0,
            Tolerance(
                1 / max(float(np.median(theirs.times)), 1.0),
                "a step, of the median that BP takes or longer",
            ),
            source=FIGURE_6,
            where=f"upper end of the {interval.confidence:.1%} interval of the median over "
            f"{theirs.times.size} draws",
        )

    def steeper(self, rank: int) -> Iterator[Check]:
        """Check that PC's gradient at the saddles of a rank is larger than BP's.

        Gradients as the contract normalises them, whatever the scaling: that of a way's masking.
        """
        worst = checks.Worst()
        for way in self.escapes:
            if way.learner == "PC":
                interval = self.gradient_ratio(way, rank)
                worst.add(
                    checks.below(
                        f"gradient of BP at saddles of rank {rank}, times that of PC",
                        interval.high,
                        1.0,
                        Tolerance(1e-3, "far more than rounding of either norm"),
                        source=FIGURE_6,
                        where=f"{way}, upper end of the {interval.confidence:.1%} interval of the "
                        "median over draws",
                    )
                )
        yield from worst

    def gradient_ratio(self, way: Way, rank: int) -> Interval:
        """How many times as large BP's gradient is at saddles of a rank as that of PC."""
        at_rank = np.array([saddle.rank == rank for saddle in self.saddles])
        # A norm that is no number is none that descent could go by.
        ours, theirs = (
            np.log(np.nan_to_num(self.escapes[each].gradient_norms()[at_rank]) + _NONE)
            for each in (way, opponent(way))
        )
        logs = median_interval(theirs - ours, theirs - ours, interpolate=False)
        low, middle, high = np.exp([logs.low, logs.estimate, logs.high])
        return Interval(float(low), float(middle), float(high), logs.confidence)

    def found(self, rank: int) -> Check:
        """Check that enough draws showed a saddle of that rank."""
        return checks.at_least(
            f"draws with a saddle of rank {rank}",
            sum(saddle.rank == rank for saddle in self.saddles),
            FEWEST,
            COUNT,
            source="singular vectors are learnt one after another (Saxe et al. 2014; Jacot et al. "
            "2021)",
        )


def opponent(way: Way) -> Way:
    """Return how BP goes, against which PC is compared: it never sees what is masked."""
    return replace(way, learner="BP", masking="matched")
