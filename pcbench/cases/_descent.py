"""Gradient inference in a linear network against the closed form of its every step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pcbench import checks, theory
from pcbench.backends import GradientInference
from pcbench.cases._problem import Problem
from pcbench.cases._relaxed import CONTRACT, COUNT, NEVER, Relaxed, RelaxedJudge
from pcbench.cases.base import CaseSkippedError, Columns, Context, Finding
from pcbench.checks import Check, Tolerance

SOURCE = "gradient inference in the eigenbasis of H_z (theory.md 2.3)"
# A dense H_z of so many units takes 72 MB, and seconds to diagonalise.
MAX_UNITS = 3_000
# Beyond 2/λ_max by this much, so that divergence shows within a few steps.
BEYOND = 1.1
# What a diverging run may grow by: its square has room in float32.
MOST_GROWTH = 1e12


def descent_findings(
    context: Context,
    judge: RelaxedJudge,
    problem: Problem,
    label: str,
    engine: GradientInference,
    steps: list[int],
) -> Iterator[Finding]:
    """Check energy and residual after every number of steps, for three sizes of a step.

    The sizes are the engine's own, the best one, ``2/(λ_min + λ_max)``, and one beyond ``2/λ_max``,
    where inference must diverge, and at the predicted rate; there, numbers of steps that would let
    it grow by more than ``MOST_GROWTH`` are left out.

    Raises
    ------
    CaseSkippedError
        If the network has too many hidden units to diagonalise ``H_z``, or none.
    """
    units = sum(problem.network.widths[1:-1])
    if not 0 < units <= MAX_UNITS:
        raise CaseSkippedError(
            f"H_z of {units:,} hidden units is not diagonalised (1 to {MAX_UNITS:,} are); leave "
            "'steps' out, or choose another network"
        )
    backend = context.backend
    model = backend.build(problem.network, problem.parameters)
    descent = theory.Descent.of(problem.weights, problem.x, problem.y)
    table: dict[str, list[float]] = {"step": [], "rate": [], "after": [], "energy": []}
    worst = checks.Worst()
    for step in (engine.step, descent.best_step, BEYOND * descent.largest_step):
        for count in steps:
            if descent.rate(step) ** count > MOST_GROWTH:
                continue
            settings = GradientInference(step=step, max_steps=count, residual=NEVER)
            relaxed = Relaxed.ask(backend, model, problem, settings)
            worst.add(*_compare(judge, descent, label, relaxed, settings))
            for column, value in zip(
                table.values(), (step, descent.rate(step), count, relaxed.energy), strict=True
            ):
                column.append(float(value))
    yield from worst
    yield Columns(f"contraction of {label}", table)
    yield Columns(
        "activity landscape",
        {
            "hidden layers": [float(problem.network.n_hidden)],
            "condition of H_z": [descent.condition],
            "least curvature": [float(descent.curvatures[0])],
            "largest curvature": [float(descent.curvatures[-1])],
        },
    )


def _compare(
    judge: RelaxedJudge,
    descent: theory.Descent,
    label: str,
    relaxed: Relaxed,
    settings: GradientInference,
) -> Iterator[Check]:
    """Compare energy and residual after all steps with what the eigenvalues of H_z make of them.

    Every step rounds anew, and the steps after it multiply that by at most ``ρ`` each.
    """
    step, count = settings.step, settings.max_steps
    where = f"{count} steps of {step:.3g}"
    well_formed = judge.form(f"{label}: descent", relaxed).at(where)
    yield well_formed
    if not well_formed.passed:
        return
    reached, begun = judge.rounding(relaxed), judge.forward_rounding()
    largest = float(descent.curvatures[-1])
    anew = step * max(reached.residual, begun.residual) + max(*reached.errors, *begun.errors)
    carried = float(np.sum(descent.rate(step) ** np.arange(count + 1)))
    apart = anew * carried
    residual, energy = descent.residual(step, count), descent.energy(step, count)
    derivation = "rounding of every step, carried on at the rate ρ (theory.md 2.3, 4)"
    yield checks.approx(
        f"{label}: residual after n steps",
        float(relaxed.residual) * judge.start,
        residual,
        Tolerance(largest * apart + reached.residual, derivation),
        source=SOURCE,
    ).at(where)
    yield checks.approx(
        f"{label}: energy after n steps",
        relaxed.energy,
        energy,
        Tolerance(
            (residual * apart + largest * apart**2 / 2) / judge.samples + sum(reached.energies),
            derivation,
        ),
        source=SOURCE,
    ).at(where)
    yield checks.approx(f"{label}: steps taken", relaxed.steps, count, COUNT, source=CONTRACT).at(
        where
    )
