"""Gradient inference in a linear network against the closed form of its every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
        before: _Residual | None = None
        for count in sorted(set(steps)):
            if count * np.log(max(descent.rate(step), 1.0)) > np.log(MOST_GROWTH):
                continue
            settings = GradientInference(step=step, max_steps=count, residual=NEVER)
            result = subject.infer(settings)
            well_formed = judge.form(f"{label}: descent", result).at(_where(settings))
            worst.add(well_formed)
            if not well_formed.passed:
                continue
            after = _Residual.of(judge, descent, result, settings)
            worst.add(*_compare(judge, descent, label, result, settings, after))
            measured = float("nan")
            if before is not None and before.is_told and after.is_told:
                measured = after.rate_since(before)
                worst.add(_rate_check(label, before, after).at(f"steps of {step:.3g}"))
            before = after
            table.append((step, descent.rate(step), measured, count, result.energy))
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


def _where(settings: GradientInference) -> str:
    return f"{settings.max_steps} steps of {settings.step:.3g}"


@dataclass(frozen=True, slots=True)
class _Residual:
    """What is left after some steps: as reported, in closed form, and how far rounding may reach.

    ``apart`` is how far rounding may have carried the activities. Every step rounds anew, and the
    steps after it multiply that by at most ``ρ`` each.
    """

    count: int
    seen: float
    expected: float
    apart: float
    tolerance: float

    @classmethod
    def of(
        cls,
        judge: InferenceJudge,
        descent: Descent,
        result: InferenceResult,
        settings: GradientInference,
    ) -> _Residual:
        step, count = settings.step, settings.max_steps
        reached, begun = judge.rounding(result), judge.forward_rounding
        made = max(float(np.linalg.norm(reached.errors[:-1])), begun.activities)
        anew = step * max(reached.residual, begun.residual) + made
        apart = anew * float(np.sum(descent.rate(step) ** np.arange(count + 1)))
        expected = descent.residual(step, count)
        evaluated = reached.residual + expected / judge.start * begun.residual
        return cls(
            count,
            float(result.residual) * judge.start,
            expected,
            apart,
            float(descent.curvatures[-1]) * apart + evaluated,
        )

    @property
    def is_told(self) -> bool:
        """Whether rounding leaves enough of it to tell a rate."""
        return self.tolerance < self.expected / 4 and self.seen > 0

    def rate_since(self, before: _Residual) -> float:
        """Return what a step has left of the residual, on average."""
        return float((self.seen / before.seen) ** (1 / (self.count - before.count)))


def _rate_check(label: str, before: _Residual, after: _Residual) -> Check:
    """Compare the measured rate with that of the closed form over the same steps.

    A relative error ``δ`` of a residual, up to a quarter, moves its logarithm by up to ``4δ/3``.
    """
    steps = after.count - before.count
    expected = float((after.expected / before.expected) ** (1 / steps))
    off = sum(end.tolerance / end.expected for end in (before, after)) * 4 / 3 / steps
    derivation = "rounding of both residuals, over the steps between them (theory.md 2.3, 4)"
    return Basis(SOURCE, derivation, label=label).approx(
        "contraction a step",
        after.rate_since(before),
        expected,
        float(expected * np.expm1(off)) + 4 * np.finfo(float).eps,
        f"from step {before.count} to {after.count}",
    )


def _compare(
    judge: InferenceJudge,
    descent: Descent,
    label: str,
    result: InferenceResult,
    settings: GradientInference,
    left: _Residual,
) -> Iterator[Check]:
    """Compare energy and residual after all steps with what the eigenvalues of H_z make of them."""
    where, largest = _where(settings), float(descent.curvatures[-1])
    derivation = "rounding of every step, carried on at the rate ρ (theory.md 2.3, 4)"
    expect = Basis(SOURCE, derivation, label=label)
    yield expect.approx("residual after n steps", left.seen, left.expected, left.tolerance, where)
    gap = (left.expected * left.apart + largest * left.apart**2 / 2) / judge.samples
    energy = descent.energy(settings.step, settings.max_steps)
    off = gap + sum(judge.rounding(result).energies)
    yield expect.approx("energy after n steps", result.energy, energy, off, where)
    name = f"{label}: steps taken"
    yield counts_match(name, result.steps, settings.max_steps, "steps", where=where)
