"""The equilibrium of any network: that it is one, that engines agree on it, and what it teaches.

Non-linear networks have no closed form for their equilibrium, but much must hold there: all forces
on the hidden activities vanish; every engine that gets there finds the same energy and activities,
to what its residual and the curvature of the energy leave open; the local weight gradients are
those of the equilibrated energy.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import numpy as np
from pydantic import Field

from pcbench import checks
from pcbench.case import Case, CaseParameters, Context, Finding
from pcbench.checks import Check
from pcbench.contract import GaussNewtonInference, InferenceSettings
from pcbench.data import DataField
from pcbench.data.base import Count
from pcbench.judges.agreement import agreement, is_smooth, stiffness
from pcbench.judges.answers import InferenceResult, Subject, engines_of, needs
from pcbench.judges.basis import Basis, folded
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.points import joined
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.reported import array_names, counts_match
from pcbench.networks import NetworkParameters

ENVELOPE = Basis(
    "envelope theorem (theory.md 2.1)",
    "a third of how far differences of two steps are apart, doubled; rounding; and what the "
    "residual leaves of energy and gradient",
)
LOCAL = Basis(
    "-(1/N) Σ_n (∂f_l/∂θ_l)ᵀ e_l at the activities reached (theory.md 1)",
    "rounding at these activities (theory.md 4)",
)


class Parameters(CaseParameters):
    """What a suite may write under ``kind: equilibrium``."""

    data: DataField
    network: NetworkParameters
    engines: dict[str, InferenceSettings] = Field(
        min_length=1,
        description="Engines with their settings, under names of your choice. The others are "
        "compared with the first, whose gradients are checked. Engines that a backend does not "
        "offer are left out.",
    )
    unfinished: bool = Field(
        False, description="Whether an engine may use up its steps before it reaches the residual."
    )
    observed: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Probability that an output is observed; the others have precision 0, and NaN "
        "as targets.",
    )
    directions: Count = Field(
        3, description="Random directions in weight space along which gradients are checked."
    )


class Equilibrium(Case[Parameters]):
    """Residuals, engines and gradients at the equilibrium of any network."""

    kind: ClassVar[str] = "equilibrium"
    description: ClassVar[str] = (
        "the equilibrium of any network: residuals, agreement of the engines, and "
        "weight gradients compared with differences of the equilibrated energy"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return the capabilities behind the network; engines that are missing are left out."""
        asked = self.parameters
        return needs(asked.network, {}, masked=asked.observed < 1)

    def run(self, context: Context) -> Iterator[Finding]:
        """Judge every engine by itself, then against the first one; then the gradients."""
        asked, backend = self.parameters, context.backend
        offered, omitted = engines_of(backend, asked.engines)
        yield from omitted
        problem = Problem.pose(context, asked.data, asked.network)
        if asked.observed < 1:
            problem = problem.masked(asked.observed, context.rng("mask"))
        subject, judge = Subject(backend, problem), InferenceJudge(problem, backend.dtype)
        found: dict[str, InferenceResult] = {}
        engines = offered.items()
        for label, settings in context.progress("engines", engines, len(engines)):
            monotone = isinstance(settings, GaussNewtonInference)
            if monotone:
                settings = settings.model_copy(update={"record": True})
            result = subject.infer(settings)
            made = list(judge.checks(label, result, settings, must_converge=not asked.unfinished))
            if monotone and checks.all_passed(made):
                made += judge.never_rises(label, result)
            if checks.all_passed(made[:1]) and problem.network.is_linear and not asked.unfinished:
                made.append(judge.theorem_1(label, result, settings))
            yield from made
            if checks.all_passed(made):
                found[label] = result
        (first, settings), *_ = engines
        if first not in found:
            return
        # Where engines must finish, it was judged above that they did.
        arrived = {k: v for k, v in found.items() if v.converged or not asked.unfinished}
        smooth = is_smooth(problem.network) and first in arrived
        if smooth:
            yield from agreement(problem, arrived, samples=judge.samples)
        yield from _local_gradients(subject, judge, found[first])
        if smooth:
            rng = context.rng("directions")
            yield from _envelope(subject, judge, settings, found[first], asked.directions, rng)
        for label, settings in engines:
            yield context.measure(label, partial(subject.relax, settings))


@folded
def _local_gradients(
    subject: Subject, judge: InferenceJudge, result: InferenceResult
) -> Iterator[Check]:
    """Hold the gradients at the activities reached against their definition."""
    observed, expected = subject.energy_gradients(judge.clamped(result)), judge.gradients(result)
    yield counts_match("number of gradients", len(observed), len(expected), "arrays")
    yield from LOCAL.distances(
        "local gradients", observed, expected, judge.gradients_off(result), array_names(expected)
    )


@folded
def _envelope(
    subject: Subject,
    judge: InferenceJudge,
    settings: InferenceSettings,
    result: InferenceResult,
    directions: int,
    rng: np.random.Generator,
) -> Iterator[Check]:
    """Compare the gradient along random directions with central differences of ``𝓕*``.

    Two steps, ``h`` and ``2h``, give the difference and an estimate of what it leaves out: the
    error of the first is a third of how far they are apart, up to fourth order.
    """
    problem, dtype = subject.problem, subject.backend.dtype
    gradient, stiff = judge.gradients(result), stiffness(judge.least_curvatures(result))
    rounding = sum(judge.rounding(result).energies)
    h = (float(np.linalg.norm(joined(problem.parameters))) or 1.0) * judge.u ** (1 / 3)
    # All errors together are no larger than the loss has them: 𝓕* ≤ 𝓛.
    size = max(float(np.linalg.norm(z)) for z in judge.clamped(result)[:-1])
    size += float(np.sqrt(2 * judge.samples * judge.loss))
    for index in range(directions):
        direction = [rng.standard_normal(p.shape) for p in problem.parameters]
        length = float(np.linalg.norm(joined(direction)))
        energies, left, points = {}, 0.0, {}
        for k in (-2, -1, 1, 2):
            moved = [
                p + k * h * d / length for p, d in zip(problem.parameters, direction, strict=True)
            ]
            points[k] = rounded(moved, dtype)
            there = problem.at(points[k])
            answer = Subject(subject.backend, there).infer(settings)
            energies[k] = answer.energy
            left = max(left, InferenceJudge(there, dtype).force(answer))
        slopes = {k: (energies[k] - energies[-k]) / 2 for k in (1, 2)}
        # Rounding to the dtype turns the direction a little: it is taken as it came out.
        along = float(joined(gradient) @ (joined(points[1]) - joined(points[-1]))) / 2
        missed = abs(slopes[2] / 2 - slopes[1]) / 3
        unfinished = left**2 / (2 * judge.samples) * stiff
        # How far the gradient may be from that at equilibrium: 𝓕_θz δz with ‖δz‖ ≤ ‖ρ‖/c, each
        # layer as in theory.unfinished_inference.
        dz = left * stiff
        slack = judge.network.depth * dz * (size + dz) / judge.samples
        off = 2 * missed + 2 * (rounding + unfinished) + slack * h
        name, where = "weight gradients along a direction", f"direction {index + 1}"
        yield ENVELOPE.approx(name, along, slopes[1], off, where)
