r"""At the saddles: what BP recorded of them, the first step away, and who leaves sooner.

At a critical point of a linear network whose targets are observed entirely, the predictions are the
targets' along some of their singular directions, and nothing along the others (Baldi & Hornik
1989). Near one, the gradient says how near. With ``E = Y - Ŷ`` and the leading ``k`` singular
values ``s_1 … s_k`` and vectors ``U, V`` of ``Ŷ``, and ``B`` the norm of what ``Ŷ`` has beyond,

.. math::
    ‖E V‖ ≤ ‖E Ŷ^⊤‖ / s_k ≤ N ‖∂_{W_L} 𝓛‖ ‖W_L‖ / s_k , \qquad
    ‖U^⊤ E X^⊤‖ ≤ ‖Ŷ^⊤ E X^⊤‖ / s_k ≤ N ‖∂_{W_1} 𝓛‖ ‖W_1 X‖ / s_k ,

from ``E Ŷᵀ = -N ∂_{W_L} 𝓛 W_Lᵀ`` and ``Mᵀ E Xᵀ = -N W_1ᵀ ∂_{W_1} 𝓛``, ``M`` being the map (samples
are columns here). Where ``Y = X``, so that rows of ``E`` are combinations of those of ``X``, the
second bounds ``‖UᵀE‖``, by the least singular value of ``X`` that is not 0. Without these two parts
of ``E``, together of norm ``ε`` at most, ``Y`` would fall apart into ``U S Vᵀ`` and the rest; so by
Mirsky's theorem ``‖E‖`` is within ``B + 2ε`` of the norm of all but ``k`` singular values of ``Y``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, compress

import numpy as np
from jaxtyping import Bool, Float

from pcbench import checks
from pcbench.case import Columns
from pcbench.cases.matrix_completion.draws import Draws, whole
from pcbench.cases.matrix_completion.parameters import Way
from pcbench.cases.matrix_completion.path import Descent, Saddle, Seen
from pcbench.checks import Check
from pcbench.claims import Claim
from pcbench.contract import DType, Sgd, TrainingSettings
from pcbench.judges.basis import Basis, folded
from pcbench.judges.claims import Question, Ratios, answers
from pcbench.judges.problem import Problem
from pcbench.judges.reported import CONTRACT, EDGE, layers
from pcbench.judges.training.curves import Course, Escapes
from pcbench.judges.training.step_expected import expect, gradient_norms, loss_off
from pcbench.statistics import Times, escape_times, paired_ratio
from pcbench.theory.nonlinear.layered import feedforward
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff

EVALUATION = "rounding of evaluation (theory.md 4)"
ROUNDING = "rounding of inference and evaluation (theory.md 4)"
# Steps after which a target that must not be seen would show.
_TRACE = 3

FIGURE_6 = "figure 6 (arXiv:2408.11979)"


@folded
def path_checks(saddles: Sequence[Saddle], rate: float, dtype: DType) -> Iterator[Check]:
    """Compare what the path recorded at its saddles with the closed form at the same parameters.

    The search goes by these numbers: where they are wrong, so are the saddles, or there are none.
    """
    settings = TrainingSettings(objective="loss", optimiser=Sgd(), learning_rate=rate)
    u = unit_roundoff(dtype)
    definition = Basis("definition of the loss (theory.md 1)", EVALUATION)
    backpropagation = Basis("backpropagation (theory.md 2.2)", EVALUATION)
    for saddle in saddles:
        count, due = len(saddle.problem.weights), expect(saddle.problem, settings, dtype, None)
        seen = saddle.seen or Seen(np.nan, np.full(count, np.nan))
        yield definition.approx("loss on BP's path", seen.loss, due.loss, due.loss_off, str(saddle))
        name, where = "gradient norm on BP's path", [f"{saddle}, {each}" for each in layers(count)]
        yield from gradient_norms(backpropagation, name, seen.gradient_norms, due, u, where)


@folded
def stationary_checks(saddles: Sequence[Saddle], dtype: DType) -> Iterator[Check]:
    """Compare the misfit that the path recorded with the nearest that is stationary.

    Of linear networks that see all of their targets, which are their inputs.
    """
    basis = Basis(
        "critical points of linear networks (Baldi & Hornik 1989)",
        "what the recorded gradient allows (Mirsky's theorem); rounding",
    )
    for saddle in saddles:
        problem, seen = saddle.problem, saddle.seen
        if problem.precision is not None or not saddle.rank or seen is None:
            continue
        # Norms that are not finite bound nothing: they have failed as records of the path.
        if np.isfinite(seen.gradient_norms).all():
            # A loss below 0 has no root: NaN fails, too.
            misfit = float(np.sqrt(2 * len(problem.x) * seen.loss)) if seen.loss > 0 else np.nan
            levels = stationary_misfits(problem, saddle.rank)
            nearest = float(levels[np.argmin(np.abs(levels - misfit))])
            rounding = len(problem.x) * loss_off(problem, dtype) / nearest
            off = beyond_stationary(problem, saddle.rank, seen, dtype) + rounding
            yield basis.approx("misfit at a saddle", misfit, nearest, off, str(saddle))


def stationary_misfits(problem: Problem, rank: int) -> Float[np.ndarray, " levels"]:
    """``‖Y - Ŷ‖`` of all critical points whose predictions are so many singular directions."""
    singular = np.linalg.svd(problem.y, compute_uv=False)
    chosen = combinations(range(len(singular)), rank)
    return np.array([np.linalg.norm(np.delete(singular, each)) for each in chosen])


def beyond_stationary(problem: Problem, rank: int, seen: Seen, dtype: DType) -> float:
    """``B + 2ε`` of the module, for the gradient norms that a path had."""
    x, weights, samples = problem.x, problem.weights, len(problem.x)
    singular = np.linalg.svd(feedforward(problem.layered, x)[-1], compute_uv=False)
    of_inputs = np.linalg.svd(x, compute_uv=False)
    # Inputs of low rank that were rounded to the dtype are of that rank but for rounding.
    kept = of_inputs > CONFIDENCE * x.size * unit_roundoff(dtype) * of_inputs[0]
    last = seen.gradient_norms[-1] * np.linalg.norm(weights[-1], 2)
    first = seen.gradient_norms[0] * np.linalg.norm(x @ weights[0].T, 2) / of_inputs[kept][-1]
    apart = samples * (first + last) / singular[rank - 1]
    return float(np.linalg.norm(singular[rank:]) + 2 * apart)


@folded
def first_steps(draws: Draws, saddles: Sequence[Saddle], way: Way) -> Iterator[Check]:
    """Take one step from each saddle, and compare it with the objective's closed form."""
    trainer, settings = draws.trainer([saddle.problem for saddle in saddles], way), draws.rule(way)
    record = trainer.run(1, draws.batches([saddle.draw for saddle in saddles])(0, 1))
    after = trainer.parameters()
    step, dtype = settings.learning_rate * settings.scale, draws.context.backend.dtype
    u = unit_roundoff(dtype)
    theorem_1 = "definition of the loss, and Theorem 1 of observed outputs (theory.md 2.1)"
    energy = Basis(theorem_1, ROUNDING)
    loss = Basis("definition of the loss (theory.md 1)", ROUNDING)
    slope = Basis("-(1/N) e_lᵀ z_{l-1} (theory.md 2.2)", ROUNDING)
    descent = Basis(
        "gradient descent on the closed form (theory.md 2.1, 2.2)",
        "the step times rounding of the gradient; rounding of the update",
    )
    for place, saddle in enumerate(saddles):
        problem, at = saddle.problem, str(saddle)
        problem = whole(problem) if way.masking == "published" else problem
        due, seen = expect(problem, settings, dtype, None), record.energies[0, place]
        yield energy.approx(f"{way}: objective at a saddle", seen, due.energy, due.energy_off, at)
        seen = record.losses[0, place]
        yield loss.approx(f"{way}: loss at a saddle", seen, due.loss, due.loss_off, at)
        where = [f"{saddle}, {each}" for each in layers(len(due.gradients))]
        with np.errstate(over="ignore", invalid="ignore"):  # a step may leave the range
            steps = [
                start - step * gradient
                for start, gradient in zip(problem.parameters, due.gradients, strict=True)
            ]
        # A gradient of 0 times a rate that the dtype does not hold is no number, either.
        largest = float(np.finfo(dtype).max)
        held = [bool(np.maximum(step, np.abs(end).max()) <= largest) for end in steps]
        norms = record.gradient_norms[0, place]
        name = f"{way}: gradient norm at a saddle"
        yield from compress(gradient_norms(slope, name, norms, due, u, where), held)
        name = f"{way}: first step from a saddle"
        for l, (start, end, off) in enumerate(
            zip(problem.parameters, steps, due.gradients_off, strict=True)
        ):
            if held[l]:
                allowed = step * off + CONFIDENCE * u * np.linalg.norm(start)
                yield descent.distance(name, after[l][place], end, allowed, where[l])
            else:
                reason = (
                    f"Training diverged at step 1 at learning rate {settings.learning_rate:g}: a "
                    f"correct step leaves the range of {dtype}; lower training.learning_rate."
                )
                yield checks.undecided(name, reason, source=EDGE, where=where[l])


def traceless(draws: Draws, saddles: Sequence[Saddle], way: Way) -> Check:
    """Train twice, once with NaN for what is not observed, and compare the parameters."""
    starts, rows = [s.problem for s in saddles], draws.batches([s.draw for s in saddles])
    silenced = [
        replace(one, y=np.where(one.weighting > 0, one.y, np.nan)) for one in draws.problems
    ]
    ends = []
    for each in (draws, replace(draws, problems=silenced)):
        trainer = each.trainer(starts, way)
        trainer.run(_TRACE, rows(0, _TRACE), _TRACE)
        ends.append(np.concatenate([part.ravel() for part in trainer.parameters()]))
    name, source = f"{way}: trace of targets that are not observed", f"precision 0: {CONTRACT}"
    if not np.isfinite(ends[0]).all():
        return checks.undecided(
            name,
            f"Training diverged within {_TRACE} steps at learning rate "
            f"{draws.asked.training.learning_rate:g}; lower training.learning_rate.",
            source=source,
        )
    u = unit_roundoff(draws.context.backend.dtype)
    size = float(np.linalg.norm(np.concatenate([p.ravel() for s in starts for p in s.parameters])))
    off, at = _TRACE * CONFIDENCE * u * size, f"after {_TRACE} steps"
    return Basis(source, "rounding of the updates").distance(name, ends[1], ends[0], off, at)


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
    asked, heights = draws.asked.escape, np.array([each.loss(way.masking) for each in saddles])

    def times(losses: Float[np.ndarray, "T R"]) -> Times:
        return escape_times(losses, heights, fraction=asked.fraction, window=1)

    def have_left(course: Course) -> Bool[np.ndarray, " R"]:
        return times(course.losses[-draws.asked.training.look :]).observed

    trainer = draws.trainer([saddle.problem for saddle in saddles], way)
    course = draws.train(trainer, [saddle.draw for saddle in saddles], asked.steps, have_left)
    # The first loss is that of the saddle, before any step: no step is too early to be seen.
    return SaddleEscapes(course, replace(times(course.losses[1:]), visible=0.0), saddles)


def finish(draws: Draws, descent: Descent, way: Way) -> Iterator[Columns]:
    """Train from near the origin to the loss at which paths stop, with as many steps.

    Of the targets that count for the learner; in the first draws whose path was stable. What is won
    at saddles may be lost at the end.
    """
    goal, steps = draws.asked.training.stop, draws.asked.training.steps
    stable = [draw for draw in range(len(draws.problems)) if draw not in descent.unstable]
    chosen = stable[: draws.asked.escape.finish]

    def arrived(course: Course) -> Bool[np.ndarray, " R"]:
        return _arrivals(course.losses[-draws.asked.training.look :], goal).observed

    starts = [draws.problems[draw] for draw in chosen] or draws.problems
    ours = draws.train(draws.trainer(starts, way), chosen, steps, arrived).losses
    pc, bp = (_arrivals(losses, goal) for losses in (ours, descent.course.losses[:, chosen]))
    name = f"{way}: steps to the loss at which paths stop"
    table: dict[str, list[float]] = {"draw": [draw + 1.0 for draw in chosen]}
    for learner, times in (("BP", bp), ("PC", pc)):
        table[f"{learner} steps"] = times.times.tolist()
        table[f"{learner} arrived"] = [float(seen) for seen in times.observed]
    yield Columns(name, table)
    if chosen:
        ratio = paired_ratio(pc, bp)
        row = (len(chosen), ratio.low, ratio.estimate, ratio.high, ratio.confidence)
        names = ("draws", "low", "median", "high", "confidence")
        yield Columns.of_rows(f"{name}, times those of BP", names, [row])


def _arrivals(losses: Float[np.ndarray, "T R"], goal: float) -> Times:
    """Return after how many steps a loss is at the goal; of losses before each step."""
    there = losses <= goal
    seen = np.asarray(there.any(axis=0))
    last = np.isfinite(losses).sum(axis=0)
    # A loss that was there before any step is there after one.
    return Times(np.where(seen, np.maximum(np.argmax(there, axis=0), 1), last).astype(float), seen)


@dataclass(frozen=True, slots=True)
class Claims:
    """Both learners' escapes from the same saddles, compared draw by draw."""

    draws: Draws
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
        step = self.draws.problems[0].y.size / 2
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
        ours, theirs = self.escapes[way], self.escapes[way.opponent]
        at = ours.at(rank)
        return Ratios.of_times(ours.times[at], theirs.times[at], (ours.lost[at], theirs.lost[at]))

    def norms(self, way: Way, rank: int) -> Ratios:
        """How many times as large BP's gradient is at saddles of a rank as that of PC."""
        ours, theirs = self.escapes[way], self.escapes[way.opponent]
        at = ours.at(rank)
        return Ratios.of_norms(theirs.first_gradients[at], ours.first_gradients[at])
