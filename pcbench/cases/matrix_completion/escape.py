"""How many steps either learner takes to leave the same saddles; what is claimed of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from pcbench.cases.matrix_completion.draws import Draws
from pcbench.cases.matrix_completion.parameters import Way
from pcbench.cases.matrix_completion.path import Descent, Saddle
from pcbench.checks import Check
from pcbench.claims import Claim
from pcbench.judges.claims import Question, Ratios, answers
from pcbench.judges.training.curves import Course, Escapes
from pcbench.statistics import Interval, Times, escape_times, paired_ratio


@dataclass(frozen=True, slots=True)
class SaddleEscapes(Escapes):
    """What became of the replicas that began at ``saddles``, in the order of these.

    Losses, and so times, are of the targets that count for the learner.
    """

    saddles: Sequence[Saddle]

    def at(self, rank: int) -> Bool[np.ndarray, " R"]:
        """Which replicas began at saddles of a rank."""
        return np.array([saddle.rank == rank for saddle in self.saddles], bool)


def escape(draws: Draws, saddles: Sequence[Saddle], way: Way) -> SaddleEscapes:
    """Train from all saddles side by side until each replica has left.

    A replica has left when the loss, of the targets that count for its learner, is lower than at
    the saddle by a fraction: of that loss itself, which is known from the saddle alone, and depends
    on no other that the path may have passed or not. Of targets of rank ``r`` that are observed
    entirely, a linear network has at most ``r - k`` singular directions before it at a saddle of
    rank ``k``, and learns the largest first (Saxe et al. 2014), which has at least ``1/(r - k)`` of
    the loss: a fraction below ``1/r`` is reached within the first drop.

    Whoever has not left when ``escape.steps`` are spent is censored.
    """
    asked, heights = draws.asked, np.array([saddle.loss(way.masking) for saddle in saddles])
    budget = draws.budget(asked.escape.steps)

    def times(losses: Float[np.ndarray, "T R"]) -> Times:
        return escape_times(losses, heights, fraction=asked.escape.fraction, window=1)

    def have_left(course: Course) -> Bool[np.ndarray, " R"]:
        return times(course.losses[-budget.look :]).observed

    trainer = draws.trainer([saddle.problem for saddle in saddles], way)
    course = draws.train(trainer, [saddle.draw for saddle in saddles], budget, have_left)
    # The first loss is that of the saddle, before any step: no step is too early to be seen.
    return SaddleEscapes(course, replace(times(course.losses[1:]), visible=0.0), saddles)


@dataclass(frozen=True, slots=True)
class Finish:
    """PC's steps from near the origin to the loss at which paths stop, and those of BP's paths."""

    way: Way
    draws: Sequence[int]
    ours: Times
    theirs: Times

    @property
    def ratio(self) -> Interval | None:
        """How many times as long PC takes; ``None`` without draws."""
        if not self.draws:
            return None
        return paired_ratio(self.ours, self.theirs)


def finish(draws: Draws, descent: Descent, way: Way) -> Finish:
    """Train from near the origin to the loss at which paths stop, with as many steps.

    Of the targets that count for the learner; in the first draws whose path was stable.
    """
    asked, budget = draws.asked, draws.budget(draws.asked.training.steps)
    goal = asked.training.stop
    stable = [draw for draw in range(len(draws)) if draw not in descent.unstable]
    chosen = stable[: asked.escape.finish]

    def arrived(course: Course) -> Bool[np.ndarray, " R"]:
        return _arrivals(course.losses[-budget.look :], goal).observed

    starts = [draws.problems[draw] for draw in chosen] or draws.problems
    ours = draws.train(draws.trainer(starts, way), chosen, budget, arrived).losses
    theirs = descent.course.losses[:, chosen]
    return Finish(way, chosen, _arrivals(ours, goal), _arrivals(theirs, goal))


def _arrivals(losses: Float[np.ndarray, "T R"], goal: float) -> Times:
    """Return after how many steps a loss is at the goal; of losses before each step."""
    there = losses <= goal
    seen = np.asarray(there.any(axis=0))
    last = np.isfinite(losses).sum(axis=0)
    # A loss that was there before any step is there after one.
    return Times(np.where(seen, np.maximum(np.argmax(there, axis=0), 1), last).astype(float), seen)


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
