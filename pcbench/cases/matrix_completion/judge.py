"""What each learner must see at the saddles: the objectives there, and the first step away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress

import numpy as np

from pcbench import checks
from pcbench.cases.matrix_completion.draws import Draws, whole
from pcbench.cases.matrix_completion.path import Saddle
from pcbench.cases.matrix_completion.ways import Way
from pcbench.checks import Check
from pcbench.judges.basis import Basis, folded
from pcbench.judges.reported import CONTRACT, layers
from pcbench.judges.training.step_expected import expect, gradient_norms
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff

EDGE = "what the dtype can hold (theory.md 4)"
ROUNDING = "rounding of inference and evaluation (theory.md 4)"
# Steps after which a target that must not be seen would show.
_TRACE = 3


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
        steps = [
            start - step * gradient
            for start, gradient in zip(problem.parameters, due.gradients, strict=True)
        ]
        held = [bool(np.abs(end).max() <= np.finfo(dtype).max) for end in steps]
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
    ends = []
    for each in (draws, draws.silenced()):
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
