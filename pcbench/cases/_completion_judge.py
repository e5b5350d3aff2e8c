"""What must be true at the saddles: their rank, the objectives there, and the first step away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from pcbench import checks, theory
from pcbench.backends import TrainingSettings
from pcbench.cases._account import CONTRACT
from pcbench.cases._completion_draws import Draws, whole
from pcbench.cases._completion_escape import Way
from pcbench.cases._completion_path import Saddle
from pcbench.cases._completion_saddles import RANK_SHARE
from pcbench.cases._problem import Problem
from pcbench.cases._relaxed_judge import judged
from pcbench.cases.base import Context
from pcbench.checks import Check, Tolerance

ROUNDING = "what rounding of all factors does to it (theory.md 4.3)"
# A number among these is as large as its standard deviation but for a chance of 1e-6.
_REPEATS = 8
# Far above the rounding of float64, in which the judge computes, and far below where it bends.
_PROBE = 2.0**-30
# Below the smallest normal number of float32, an honest implementation may answer zero.
_UNDERFLOW = 2.0**-126
# Steps after which a target that must not be seen would show.
_TRACE = 3

Gradients = list[Float[np.ndarray, "..."]]


def rank_checks(saddles: Sequence[Saddle]) -> Iterator[Check]:
    """Check that the map of a linear network has no more rank than its predictions show.

    How large the predictions are, which the search goes by, says nothing of directions in which
    inputs are small.
    """
    worst = checks.Worst()
    for saddle in saddles:
        if saddle.rank:
            weights = saddle.problem.weights
            singular = np.linalg.svd(theory.chain(weights, len(weights), 1), compute_uv=False)
            worst.add(
                checks.at_most(
                    "map of a saddle beyond its rank",
                    float(singular[saddle.rank] / singular[saddle.rank - 1]),
                    RANK_SHARE,
                    Tolerance(
                        float(np.finfo(float).eps) * len(singular), "rounding of singular values"
                    ),
                    source="a plateau of rank k: all further singular values are about to grow "
                    "(Saxe et al. 2014)",
                    where=str(saddle),
                )
            )
    yield from worst


def loss_checks(saddles: Sequence[Saddle]) -> Iterator[Check]:
    """Hold the misfit ``‖Y - Ŷ‖`` at saddles of linear networks against the best of their rank.

    Of targets that are observed entirely, alone: others have no closed form. No predictions of rank
    ``k`` are nearer to the targets than the best; those of a plateau are near them, where the drop
    from the rank below has been gone all but a share.
    """
    worst = checks.Worst()
    for saddle in saddles:
        problem = saddle.problem
        if not saddle.rank or problem.precision is not None:
            continue
        losses = theory.least_losses(problem.x, problem.y)
        best, above = np.sqrt(2 * len(problem.x) * losses[[saddle.rank, saddle.rank - 1]])
        predictions = theory.feedforward(judged(problem), problem.x)[-1]
        beyond = np.linalg.svd(predictions, compute_uv=False)[saddle.rank :]
        worst.add(
            checks.within(
                "misfit at a saddle",
                float(np.linalg.norm(problem.y - predictions)),
                (float(best), float(best + RANK_SHARE * (above - best))),
                Tolerance(
                    float(np.linalg.norm(beyond)) + float(np.finfo(float).eps * above),
                    "what the predictions have beyond this rank: the triangle inequality",
                ),
                source="Eckart-Young, and the saddles of linear networks (Baldi & Hornik 1989)",
                where=str(saddle),
            )
        )
    yield from worst


def first_steps(
    context: Context,
    draws: Draws,
    saddles: Sequence[Saddle],
    way: Way,
    settings: TrainingSettings,
) -> Iterator[Check]:
    """Take one step from each saddle, and hold it against the objective's closed form."""
    starts = [saddle.problem for saddle in saddles]
    trainer = draws.trainer(context, starts, settings, way.masking)
    record = trainer.run(1, draws.batches([saddle.draw for saddle in saddles])(0, 1))
    after = trainer.parameters()
    step = settings.learning_rate * settings.scale
    u = theory.unit_roundoff(context.backend.dtype)
    values = record.losses if way.learner == "BP" else record.energies
    worst, label = checks.Worst(), f"{way}: "
    for place, saddle in enumerate(saddles):
        problem = whole(saddle.problem) if way.masking == "published" else saddle.problem
        value, gradients = _objective(problem, way)
        value_off, gradients_off = _rounding(problem, way, u)
        worst.add(
            checks.approx(
                f"{label}objective at a saddle",
                float(values[0, place]),
                value,
                Tolerance(value_off, ROUNDING),
                source="definition of the loss, and Theorem 1 of observed outputs (theory.md 2.1)",
                where=str(saddle),
            )
        )
        for l, (start, gradient, off) in enumerate(
            zip(problem.parameters, gradients, gradients_off, strict=True)
        ):
            where = f"{saddle}, layer {l + 1}"
            worst.add(
                checks.approx(
                    f"{label}gradient norm at a saddle",
                    float(record.gradient_norms[0, place, l]),
                    float(np.linalg.norm(gradient)),
                    Tolerance(off, ROUNDING),
                    source="-(1/N) e_lᵀ z_{l-1} (theory.md 2.2)",
                    where=where,
                ),
                checks.distance(
                    f"{label}first step from a saddle",
                    after[l][place],
                    start - step * gradient,
                    Tolerance(
                        float(step * off + theory.CONFIDENCE * u * np.linalg.norm(start)),
                        f"the step times {ROUNDING}; rounding of the update",
                    ),
                    source="gradient descent on the closed form (theory.md 2.1, 2.2)",
                    where=where,
                ),
            )
    yield from worst


def traceless(
    context: Context,
    draws: Draws,
    saddles: Sequence[Saddle],
    way: Way,
    settings: TrainingSettings,
) -> Check:
    """Train twice, once without what is not observed, and compare where that leads."""
    starts, rows = [s.problem for s in saddles], draws.batches([s.draw for s in saddles])
    ends = []
    for told in (draws, draws.silenced()):
        trainer = told.trainer(context, starts, settings, way.masking)
        trainer.run(_TRACE, rows(0, _TRACE), _TRACE)
        ends.append(np.concatenate([part.ravel() for part in trainer.parameters()]))
    u = theory.unit_roundoff(context.backend.dtype)
    size = float(np.linalg.norm(np.concatenate([p.ravel() for s in starts for p in s.parameters])))
    return checks.distance(
        f"{way}: trace of targets that are not observed",
        ends[1],
        ends[0],
        Tolerance(_TRACE * theory.CONFIDENCE * u * size, "rounding of the updates"),
        source=f"precision 0: {CONTRACT}",
        where=f"after {_TRACE} steps",
    )


def _objective(problem: Problem, way: Way) -> tuple[float, Gradients]:
    """Return the learner's objective and its gradients."""
    if way.learner == "BP":
        point = judged(problem), problem.x, problem.y, problem.precision
        return theory.layered_loss(*point), list(theory.layered_loss_gradients(*point)[0])
    precision = 1.0 if problem.precision is None else problem.precision
    batch = problem.weights, problem.x, problem.y, precision
    return theory.masked_energy(*batch), theory.masked_energy_gradient(*batch)


def _rounding(problem: Problem, way: Way, u: float) -> tuple[float, list[float]]:
    """How far rounding may carry the objective, and each of its gradients."""
    rng = np.random.default_rng(0)  # a tolerance is a pure function
    value, gradients = _objective(problem, way)
    values_off, gradients_off = [], []
    for _ in range(_REPEATS):
        moved, (x, y), _nothing = theory.with_rounding(
            judged(problem), [problem.x, problem.y], [], _PROBE, rng
        )
        there = replace(problem, weights=list(moved.weights), x=x, y=y)
        near, slopes = _objective(there, way)
        values_off.append(abs(near - value))
        gradients_off.append(
            [float(np.linalg.norm(a - b)) for a, b in zip(slopes, gradients, strict=True)]
        )
    scale = theory.CONFIDENCE * (u + theory.unit_roundoff("float64")) / _PROBE
    bounds = scale * np.max(gradients_off, axis=0) + _UNDERFLOW
    return scale * max(values_off) + _UNDERFLOW, bounds.tolist()
