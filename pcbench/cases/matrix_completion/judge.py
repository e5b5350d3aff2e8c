"""What each learner must see at the saddles: the objectives there, and the first step away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pcbench import checks
from pcbench.case import Context
from pcbench.cases.matrix_completion.draws import Draws, whole
from pcbench.cases.matrix_completion.escape import Way
from pcbench.cases.matrix_completion.path import Saddle
from pcbench.checks import Check, Tolerance
from pcbench.contract import TrainingSettings
from pcbench.judges.reported import CONTRACT
from pcbench.judges.training.step_expected import expect, norm_off
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff

EDGE = "what the dtype can hold (theory.md 4)"
ROUNDING = "rounding of inference and evaluation (theory.md 4)"
# Steps after which a target that must not be seen would show.
_TRACE = 3


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
    step, dtype = settings.learning_rate * settings.scale, context.backend.dtype
    u = unit_roundoff(dtype)
    worst, label = checks.Worst(), f"{way}: "
    for place, saddle in enumerate(saddles):
        problem = whole(saddle.problem) if way.masking == "published" else saddle.problem
        expected = expect(problem, settings, dtype, None)
        worst.add(
            checks.approx(
                f"{label}objective at a saddle",
                float(record.energies[0, place]),
                expected.energy,
                Tolerance(expected.energy_off, ROUNDING),
                source="definition of the loss, and Theorem 1 of observed outputs (theory.md 2.1)",
                where=str(saddle),
            ),
            checks.approx(
                f"{label}loss at a saddle",
                float(record.losses[0, place]),
                expected.loss,
                Tolerance(expected.loss_off, ROUNDING),
                source="definition of the loss (theory.md 1)",
                where=str(saddle),
            ),
        )
        for l, (start, gradient, off) in enumerate(
            zip(problem.parameters, expected.gradients, expected.gradients_off, strict=True)
        ):
            where = f"{saddle}, layer {l + 1}"
            if not np.abs(start - step * gradient).max() <= np.finfo(context.backend.dtype).max:
                name = f"{label}first step from a saddle"
                reason = (
                    f"Training diverged at step 1 at learning rate {settings.learning_rate:g}: a "
                    f"correct step leaves the range of {context.backend.dtype}; lower "
                    "training.learning_rate."
                )
                worst.add(checks.undecided(name, reason, source=EDGE, where=where))
                continue
            worst.add(
                checks.approx(
                    f"{label}gradient norm at a saddle",
                    float(record.gradient_norms[0, place, l]),
                    float(np.linalg.norm(gradient)),
                    Tolerance(norm_off(gradient, off, u), ROUNDING),
                    source="-(1/N) e_lᵀ z_{l-1} (theory.md 2.2)",
                    where=where,
                ),
                checks.distance(
                    f"{label}first step from a saddle",
                    after[l][place],
                    start - step * gradient,
                    Tolerance(
                        float(step * off + CONFIDENCE * u * np.linalg.norm(start)),
                        "the step times rounding of the gradient; rounding of the update",
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
    if not np.isfinite(ends[0]).all():
        return checks.undecided(
            f"{way}: trace of targets that are not observed",
            f"Training diverged within {_TRACE} steps at learning rate {settings.learning_rate:g}; "
            "lower training.learning_rate.",
            source=f"precision 0: {CONTRACT}",
        )
    u = unit_roundoff(context.backend.dtype)
    size = float(np.linalg.norm(np.concatenate([p.ravel() for s in starts for p in s.parameters])))
    return checks.distance(
        f"{way}: trace of targets that are not observed",
        ends[1],
        ends[0],
        Tolerance(_TRACE * CONFIDENCE * u * size, "rounding of the updates"),
        source=f"precision 0: {CONTRACT}",
        where=f"after {_TRACE} steps",
    )
