"""Whether a sample ends where it ends alone, and its outputs count as the energy has them.

The energy is a mean over samples, and no sample is in another's term: where one has its equilibrium
depends on nothing else in the batch. A library whose hidden terms are sums and whose output term is
a mean, over the batch, the outputs or both, has other equilibria, which move with the batch's size.
At an equilibrium the last hidden layer tells by how much its output term counts:
``e_{L-1} = s J_Lᵀ (π e)_L`` with ``s = 1``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf

import numpy as np

from pcbench import checks
from pcbench.backends import InferenceSettings, IterativeInference
from pcbench.cases._account import DEFINITION
from pcbench.cases._conformance_subject import Subject
from pcbench.cases._problem import Problem
from pcbench.cases._relaxed import Relaxed
from pcbench.cases._relaxed_judge import RelaxedJudge
from pcbench.checks import Check, Tolerance

DECOUPLED = "𝓕 is a mean over samples, each with an energy of its own (theory.md 1)"
# How near a share has to be to what a known mistake makes of it, to be called that.
_NEAR = 0.01


def output_share(
    judge: RelaxedJudge,
    problem: Problem,
    label: str,
    relaxed: Relaxed,
    settings: InferenceSettings,
) -> Iterator[Check]:
    """Check ``s = 1``, where there are several samples and outputs to take a mean over.

    A force of ``‖ρ‖`` that is left leaves ``|s - 1| ≤ ‖ρ‖/‖J_Lᵀ (π e)_L‖``.
    """
    samples, outputs = problem.y.shape
    if samples == 1 or outputs == 1 or problem.network.n_layers == 1:
        return
    last, pull = judge.at_last_hidden_layer(relaxed)
    size = float(np.linalg.norm(pull))
    if not size > 0:
        return
    share = 1 + float(np.sum((last / size) * (pull / size)))
    check = checks.approx(
        f"{label}: share of the output's error",
        share,
        1.0,
        Tolerance(
            _force_left(judge, relaxed, settings) / size + float(np.finfo(float).eps),
            "the residual asked for, and rounding, over the force of the output (theory.md 4)",
        ),
        source=DEFINITION,
    )
    yield check if check.passed else check.at(_guess(share, samples, outputs))


def alone(
    subject: Subject,
    judge: RelaxedJudge,
    label: str,
    relaxed: Relaxed,
    settings: InferenceSettings,
) -> Check:
    """Compare where the last sample ends among the others with where it ends alone.

    In a linear network, whose equilibrium is one: forces of ``‖ρ‖`` that are left leave it at
    most ``‖ρ‖/λ_min`` away.
    """
    problem = subject.problem
    precision = None if problem.precision is None else problem.precision[-1:]
    single = replace(problem, x=problem.x[-1:], y=problem.y[-1:], precision=precision)
    own_judge = RelaxedJudge(single, subject.backend.dtype)
    own = Subject(subject.backend, single).infer(settings)
    name = f"{label}: a sample alone and among others"
    formed = own_judge.form(name, own)
    if not formed.passed:
        return formed
    left = _force_left(judge, relaxed, settings) + _force_left(own_judge, own, settings)
    least = float(own_judge.least_curvatures(own).min())
    return checks.distance(
        name,
        np.concatenate([z[-1] for z in relaxed.activities[1:-1]]),
        np.concatenate([z[-1] for z in own.activities[1:-1]]),
        Tolerance(
            left / least if least > 0 else inf,  # where float64 hides that it is positive
            "the residuals asked for, and rounding, over λ_min(H_z) (theory.md 2.3, 4)",
        ),
        source=DECOUPLED,
    )


def _force_left(judge: RelaxedJudge, relaxed: Relaxed, settings: InferenceSettings) -> float:
    """Bound ``‖∂(N𝓕)/∂z‖`` where inference arrived at what was asked for."""
    rounding = judge.rounding(relaxed).residual
    if not isinstance(settings, IterativeInference):
        return rounding + judge.exact_rounding.residual
    return rounding + settings.residual * (judge.start + judge.forward_rounding.residual)


def _guess(share: float, samples: int, outputs: int) -> str:
    """Say which mean a share looks like."""
    both = f"{samples}·{outputs}"
    known = [
        (samples * outputs, both, "a mean over batch and outputs"),
        (samples * outputs / 2, f"{both}/2", "a mean of squares over batch and outputs, without ½"),
        (samples, f"{samples}", "a mean over the batch"),
        (outputs, f"{outputs}", "a mean over outputs"),
        (outputs / 2, f"{outputs}/2", "a mean of squares over outputs, without ½"),
        (0.5, "½", "a square without ½"),
    ]
    alike = [
        f"divided by {divisor}: {reason}?"
        for value, divisor, reason in known
        if value != 1 and abs(share * value - 1) < _NEAR
    ]
    return f"the output term counts {share:.3g} times; it is " + " or ".join(
        alike or ["none of the usual means"]
    )
