"""Gradient inference in a linear network against the closed form of its every step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pcbench import checks
from pcbench.case import CaseSkippedError, Columns, Finding
from pcbench.checks import Check
from pcbench.contract import GradientInference
from pcbench.judges.answers import NEVER, InferenceResult, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.reported import counts_match
from pcbench.theory.linear.equilibrium import Descent

SOURCE = "gradient inference in the eigenbasis of H_z (theory.md 2.3)"
# A dense H_z of so many units takes 72 MB, and seconds to diagonalise.
MAX_UNITS = 3_000
# Beyond 2/λ_max by this much, so that divergence shows within a few steps.
BEYOND = 1.1
# What a diverging run may grow by: its square has room in float32.
MOST_GROWTH = 1e12


def descent_findings(
    subject: Subject, judge: InferenceJudge, label: str, engine: GradientInference, steps: list[int]
) -> Iterator[Finding]:
    """Check energy and residual after every number of steps, for three sizes of a step.

    The sizes are the engine's own, the best one, ``2/(λ_min + λ_max)``, and one beyond ``2/λ_max``,
    where inference must diverge, and at the predicted rate; there, numbers of steps that would let
    it grow by more than ``MOST_GROWTH`` are left out. With too many hidden units to diagonalise
    ``H_z``, or none, the case is skipped.
    """
    problem = subject.problem
    units = sum(problem.network.widths[1:-1])
    if not 0 < units <= MAX_UNITS:
        raise CaseSkippedError(
            f"H_z of {units:,} hidden units is not diagonalised (1 to {MAX_UNITS:,} are); leave "
            "'steps' out, or choose another network"
        )
    descent = Descent.of(problem.weights, problem.x, problem.y)
    table: list[tuple[float, ...]] = []
    worst = checks.Worst()
    for step in (engine.step, descent.best_step, BEYOND * descent.largest_step):
        before, rate = None, descent.rate(step)
        for count in sorted(set(steps)):
            if count * np.log(max(rate, 1.0)) > np.log(MOST_GROWTH):
                continue
            settings = GradientInference(step=step, max_steps=count, residual=NEVER)
            result = subject.infer(settings)
            where = f"{count} steps of {step:.3g}"
            well_formed = judge.form(f"{label}: descent", result).at(where)
            worst.add(well_formed)
            if not well_formed.passed:
                continue
            after, made = _compare(judge, descent, label, result, settings)
            worst.add(*(check.at(where) for check in made))
            measured = float("nan")
            if before is not None and before.is_told and after.is_told:
                check = _rate_check(label, before, after)
                measured = (after.seen / before.seen) ** (1 / (count - before.steps))
                worst.add(check.at(f"steps of {step:.3g}"))
            before = after
            table.append((step, rate, measured, count, result.energy))
    yield from worst
    names = ("step", "rate", "measured rate", "after", "energy")
    yield Columns.of_rows(f"contraction of {label}", names, table)
    yield Columns(
        "activity landscape",
        {
            "hidden layers": [float(problem.network.n_hidden)],
            "largest width": [float(max(problem.network.widths[1:-1]))],
            "condition of H_z": [descent.condition],
            "least curvature": [float(descent.curvatures[0])],
            "largest curvature": [float(descent.curvatures[-1])],
        },
    )


class _Residual(NamedTuple):
    """What is left after some steps: as reported, in closed form, and the tolerance."""

    steps: int
    seen: float
    expected: float
    tolerance: float

    @property
    def is_told(self) -> bool:
        """Whether rounding leaves enough of it to tell a rate."""
        return self.tolerance < self.expected / 4 and self.seen > 0


def _compare(
    judge: InferenceJudge,
    descent: Descent,
    label: str,
    result: InferenceResult,
    settings: GradientInference,
) -> tuple[_Residual, list[Check]]:
    """Compare energy and residual after all steps with what the eigenvalues of H_z make of them.

    Every step rounds anew, and the steps after it multiply that by at most ``ρ`` each: ``apart``
    is how far rounding may have carried the activities.
    """
    step, count, largest = settings.step, settings.max_steps, float(descent.curvatures[-1])
    reached, begun = judge.rounding(result), judge.forward_rounding
    made = max(float(np.linalg.norm(reached.errors[:-1])), begun.activities)
    anew = step * max(reached.residual, begun.residual) + made
    apart = anew * float(np.sum(descent.rate(step) ** np.arange(count + 1)))
    expected = descent.residual(step, count)
    evaluated = reached.residual + expected / judge.start * begun.residual
    seen, off = float(result.residual) * judge.start, largest * apart + evaluated
    derivation = "rounding of every step, carried on at the rate ρ (theory.md 2.3, 4)"
    expect = Basis(SOURCE, derivation, label=label)
    gap = (expected * apart + largest * apart**2 / 2) / judge.samples + sum(reached.energies)
    energy = descent.energy(step, count)
    return _Residual(count, seen, expected, off), [
        expect.approx("residual after n steps", seen, expected, off),
        expect.approx("energy after n steps", result.energy, energy, gap),
        counts_match(f"{label}: steps taken", result.steps, count, "steps"),
    ]


def _rate_check(label: str, before: _Residual, after: _Residual) -> Check:
    """Compare the measured rate with that of the closed form over the same steps.

    A relative error ``δ`` of a residual, up to a quarter, moves its logarithm by up to ``4δ/3``.
    """
    steps = after.steps - before.steps
    seen, expected = (
        float((end / start) ** (1 / steps))
        for end, start in ((after.seen, before.seen), (after.expected, before.expected))
    )
    off = sum(end.tolerance / end.expected for end in (before, after)) * 4 / 3 / steps
    derivation = "rounding of both residuals, over the steps between them (theory.md 2.3, 4)"
    return Basis(SOURCE, derivation, label=label).approx(
        "contraction a step",
        seen,
        expected,
        float(expected * np.expm1(off)) + 4 * np.finfo(float).eps,
        f"from step {before.steps} to {after.steps}",
    )
