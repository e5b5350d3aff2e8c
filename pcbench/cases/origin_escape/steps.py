"""Steps of leaving the origin, the first ones and a later one, against the theory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from jaxtyping import Float

from pcbench.cases.origin_escape.run import Outcome, Start
from pcbench.checks import Check
from pcbench.contract import Objective, Sgd, TrainingSettings
from pcbench.judges.basis import Basis, folded
from pcbench.judges.problem import Weights
from pcbench.judges.reported import DEFINITION, array_names, layers
from pcbench.judges.training.curves import LEARNERS, Scaling
from pcbench.judges.training.step_expected import loss_off, norm_off
from pcbench.judges.training.step_judge import StepJudge
from pcbench.theory.dynamics.growth import first_steps as predicted_steps
from pcbench.theory.dynamics.growth import growth, least_slope, top_direction, vanishing_slopes
from pcbench.theory.nonlinear.layered import layered_loss
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff
from pcbench.theory.rounding.undecidable import UndecidableError
from pcbench.theory.rounding.underflow import SMALLEST

FORETOLD = Basis(
    "gradient descent on the closed forms from the initial weights (theory.md 2.1, 2.7)",
    "rounding of weights, gradients and norms along a replay in float64 (theory.md 4)",
)
GROWTH = Basis(
    "W_L grows by 1 + η λ a step along an eigenvector of Σ_yy (theory.md 2.7)",
    "rounding of a step, each; the interval is what departures from the law may bring",
)
SQUARES = "rounding of a sum of squares (theory.md 4)"
VANISHING = Basis("∂𝓛/∂W_l is a product of all other layers (theory.md 2.1)", SQUARES)
STRICT = Basis("∂𝓕*/∂W_L is of the order of W_L near the origin (theory.md 2.4, 2.7)", SQUARES)
SAME = Basis(
    "one rule takes the same step, whatever was before",
    "rounding of the parameters by either trainer (theory.md 4.5)",
)

SEEDS = 2
"""Whose gradient norms are replayed: a replay is on the host, in float64, several times over."""


Batches = list[tuple[Float[np.ndarray, "N d_0"], Float[np.ndarray, "N d_L"]]]
"""Inputs and targets of a seed, a step each."""


@folded
def first_steps(start: Start, scaling: Scaling) -> Iterator[Check]:
    """Judge the first steps of both learners, taken by trainers of their own."""
    u, asked = unit_roundoff(start.context.backend.dtype), start.asked
    x, y, rows = start.problem.x, start.problem.y, start.first_batches(asked.judged)
    whole = np.tile(np.arange(len(x)), (asked.judged, 1))
    for learner, objective in LEARNERS.items():
        trainer = start.trainer(learner, scaling)
        before = trainer.parameters()
        norms = trainer.run(asked.judged, rows).gradient_norms
        after = trainer.parameters()[start.problem.network.n_layers - 1]
        rate = asked.training.rate(scaling) * start.settings(learner, scaling).scale
        for seed in range(asked.seeds):
            weights, seen = [weight[seed] for weight in before], norms[:, seed]
            batches = [(x[one], y[one]) for one in (whole if rows is None else rows[:, seed])]
            made = list[Check]()
            if seed < SEEDS:
                due, offs = predicted_steps(weights, batches, rate, objective, u)
                sizes = np.broadcast_to([weight.size for weight in weights], due.shape)
                known = zip(due.flat, sizes.ravel().tolist(), offs.flat, strict=True)
                off = [norm_off(*each, u) for each in known]
                places = product(range(1, asked.judged + 1), layers(len(weights)))
                labels = [f"step {step}, {layer}" for step, layer in places]
                name = f"gradient norms of the first steps ({learner})"
                made.append(FORETOLD.each_close(name, seen.ravel(), due.ravel(), off, labels))
            made += _at_the_start(weights, batches[0], seen[0], objective, u)
            if objective == "energy" and start.problem.network.n_hidden > 1:
                made += _growth(weights, batches, rate, after[seed], start.problem.y, u)
            yield from (check.at(f"seed {seed + 1}") for check in made)


def _at_the_start(
    weights: Weights,
    batch: tuple[Float[np.ndarray, "N d_0"], Float[np.ndarray, "N d_L"]],
    seen: Float[np.ndarray, " L"],
    objective: Objective,
    u: float,
) -> Iterator[Check]:
    """Check that BP's gradient is as small as weights near the origin make it, and PC's is not."""
    if objective == "loss":
        bounds = vanishing_slopes(weights, *batch)
        layer = int(np.argmax(seen / bounds))
        yield VANISHING.at_most(
            "gradient norm at the start (BP)",
            seen[layer],
            bounds[layer],
            norm_off(bounds[layer], weights[layer].size, 0.0, u),
            f"layer {layer + 1}",
        )
        return
    least = least_slope(weights, *batch)
    if least > 0 and len(weights) > 1:  # where it is not, the weights are not near the origin
        off = norm_off(least, weights[-1].size, 0.0, u)
        yield STRICT.at_least("gradient norm at the start (PC)", seen[-1], least, off, "last layer")


def _growth(
    weights: Weights,
    batches: Batches,
    rate: float,
    after: Float[np.ndarray, "d_L d"],
    y: Float[np.ndarray, "samples d_L"],
    u: float,
) -> Iterator[Check]:
    """Check how much the last layer has grown along the top eigenvector of ``Σ_yy``."""
    _, top = top_direction(y)
    predicted = growth(weights, batches, rate, top)[-1]
    if not predicted.off < predicted.law - 1:
        return  # weights that far from the origin need not grow
    began = float(np.linalg.norm(top @ weights[-1]))
    ended = float(np.linalg.norm(top @ after))
    size = float(np.linalg.norm(weights[-1]))
    rounding = CONFIDENCE * u * np.sqrt(2 * (len(batches) + len(top)))
    yield GROWTH.within(
        "growth of W_L along the top eigenvector of Σ_yy (PC)",
        ended / began,
        predicted.interval,
        rounding * max(size, ended) / began,
        f"law {predicted.law:.6g} after {len(batches)} steps",
    )


@folded
def later_step(
    start: Start, settings: TrainingSettings, learner: str, outcome: Outcome
) -> Iterator[Check]:
    """Judge the step that training took after its first look, if it took one.

    A fresh trainer takes it from the parameters that the run had reached, and is compared with the
    theory; the run has to reach the same parameters, and to have recorded the theory's loss. A
    fresh trainer has no history of Adam: with Adam the run's own step is not compared.
    """
    later = outcome.later
    if later is None:
        return
    rows = None
    if start.batches is not None:
        rows = start.batches(later.step, later.step + 1)[:, later.alive]
    at = f"{learner}, step {later.step + 1}"
    yield from StepJudge(start.context, start.problem, settings, later.before, rows, at).findings(1)
    recorded = Basis(DEFINITION, "rounding (theory.md 4)")
    inside = []
    for place, seed in enumerate(later.alive):
        problem = start.problem.at([array[place] for array in later.before])
        if rows is not None:
            problem = problem.rows(rows[0, place])
        try:
            problem.demand_range(start.context.backend.dtype)
        except UndecidableError:  # the step, which has been judged, says so
            continue
        inside.append(place)
        yield recorded.approx(
            f"loss that the run recorded ({at})",
            outcome.course.losses[later.step, seed],
            layered_loss(problem.layered, problem.x, problem.y),
            loss_off(problem, start.context.backend.dtype),
            f"seed {seed + 1}",
        )
    if not inside or not isinstance(settings.optimiser, Sgd):
        return
    backend = start.context.backend
    model = backend.build(start.problem.network, later.before)
    fresh = backend.trainer(model, *start.staged, settings)
    fresh.run(1, rows)
    reached = fresh.parameters()
    names, u = array_names([array[0] for array in reached]), unit_roundoff(backend.dtype)
    name = f"parameters after a step of the run ({at})"
    for array, ran, due in zip(names, later.after, reached, strict=True):
        for place in inside:
            off = 2 * CONFIDENCE * u * np.linalg.norm(due[place]) + SMALLEST
            where = f"seed {later.alive[place] + 1}, {array}"
            yield SAME.distance(name, ran[place], due[place], off, where)
