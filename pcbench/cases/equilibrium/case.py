"""The equilibrium of any network: that it is one, that engines agree on it, and what it teaches.

Non-linear networks have no closed form for their equilibrium, but much must hold there: all forces
on the hidden activities vanish; every engine that gets there finds the same energy and activities,
to what its residual and the curvature of the energy leave open; the local weight gradients are
those of the equilibrated energy.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, PositiveInt

from pcbench import checks
from pcbench.case import Case, CaseParameters, Context, Finding
from pcbench.checks import Check, Tolerance
from pcbench.contract import Capability, GaussNewtonInference, InferenceSettings, Model
from pcbench.data import DataField
from pcbench.judges.agreement import agreement, is_smooth, stiffness
from pcbench.judges.answers import InferenceResult, engines_of, infer, needs
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.reported import CONTRACT, array_names, counted
from pcbench.judges.theorem_1 import theorem_1
from pcbench.networks import NetworkParameters
from pcbench.theory.rounding.bounds import unit_roundoff

ENVELOPE = "envelope theorem (theory.md 2.1)"


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
    directions: PositiveInt = Field(
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

    def needs(self) -> frozenset[Capability]:
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
        judge = InferenceJudge(problem, backend.dtype)
        model = backend.build(problem.network, problem.parameters)
        found: dict[str, InferenceResult] = {}
        engines = offered.items()
        for label, settings in context.progress("engines", engines, len(engines)):
            monotone = isinstance(settings, GaussNewtonInference)
            if monotone:
                settings = settings.model_copy(update={"record": True})
            result = InferenceResult.ask(backend, model, problem, settings)
            made = list(judge.checks(label, result, settings, must_converge=not asked.unfinished))
            if monotone and checks.all_passed(made):
                made += judge.never_rises(label, result)
            if checks.all_passed(made[:1]) and problem.network.is_linear and not asked.unfinished:
                made.append(theorem_1(judge, problem, label, result, settings))
            yield from made
            if checks.all_passed(made):
                found[label] = result
        (first, settings), *_ = engines
        if first not in found:
            return
        arrived = {
            label: result
            for label, result in found.items()
            if result.converged or not asked.unfinished  # else judged to have arrived above
        }
        smooth = is_smooth(problem.network) and first in arrived
        if smooth:
            yield from agreement(problem, arrived, samples=judge.samples)
        yield from self._local_gradients(context, judge, model, problem, found[first])
        if smooth:
            yield from _envelope(context, judge, problem, settings, found[first], asked.directions)
        for label, settings in engines:
            yield context.measure(label, partial(infer, backend, model, problem, settings))

    def _local_gradients(
        self,
        context: Context,
        judge: InferenceJudge,
        model: Model[Any],
        problem: Problem,
        result: InferenceResult,
    ) -> Iterator[Check]:
        """Hold the gradients at the activities reached against their definition."""
        backend = context.backend
        activities = judge.clamped(result)
        staged = [backend.to_device(activity) for activity in activities]
        precision = problem.precision
        gradients = (
            model.energy_gradients(staged)
            if precision is None
            else model.energy_gradients(staged, backend.to_device(precision))
        )
        seen = [backend.to_host(gradient) for gradient in gradients]
        rounding, expected = judge.rounding(result), judge.gradients(result)
        allowed = [*rounding.gradients, *rounding.biases]
        yield checks.approx(
            "number of gradients",
            len(seen),
            len(expected),
            counted("arrays"),
            source=CONTRACT,
        )
        worst = checks.Worst()
        names = array_names(expected)
        for name, ours, theirs, bound in zip(names, seen, expected, allowed, strict=False):
            worst.add(
                checks.distance(
                    "local gradients",
                    ours,
                    theirs,
                    Tolerance(bound, "rounding at these activities (theory.md 4)"),
                    source="-(1/N) Σ_n (∂f_l/∂θ_l)ᵀ e_l at the activities reached (theory.md 1)",
                    where=name,
                )
            )
        yield from worst


def _envelope(
    context: Context,
    judge: InferenceJudge,
    problem: Problem,
    settings: InferenceSettings,
    result: InferenceResult,
    directions: int,
) -> Iterator[Check]:
    """Compare the gradient along random directions with central differences of ``𝓕*``.

    Two steps, ``h`` and ``2h``, give the difference and an estimate of what it leaves out: the
    error of the first is a third of how far they are apart, up to fourth order.
    """
    rng, dtype = context.rng("directions"), context.backend.dtype
    gradient, stiff = judge.gradients(result), stiffness(judge.least_curvatures(result))
    rounding = sum(judge.rounding(result).energies)
    u = unit_roundoff(dtype)
    size = np.sqrt(sum(float(np.sum(p**2)) for p in problem.parameters)) or 1.0
    h = size * u ** (1 / 3)
    worst = checks.Worst()
    for index in range(directions):
        direction = [rng.standard_normal(p.shape) for p in problem.parameters]
        length = np.sqrt(sum(float(np.sum(d**2)) for d in direction))
        direction = [d / length for d in direction]
        energies, residuals, points = {}, 0.0, {}
        for k in (-2, -1, 1, 2):
            moved = rounded(
                [p + k * h * d for p, d in zip(problem.parameters, direction, strict=True)], dtype
            )
            points[k] = moved
            there = problem.at(moved)
            model = context.backend.build(there.network, moved)
            answer = InferenceResult.ask(context.backend, model, there, settings)
            energies[k] = answer.energy
            judge_there = InferenceJudge(there, dtype)
            left = judge_there.sample_residuals(judge_there.clamped(answer))
            residuals = max(residuals, float(np.linalg.norm(left)))
        # Rounding to the dtype turns the direction a little: it is taken as it came out.
        slopes = {k: (energies[k] - energies[-k]) / 2 for k in (1, 2)}
        along = {
            k: sum(
                float(np.sum(g * (a - b))) / 2
                for g, a, b in zip(gradient, points[k], points[-k], strict=True)
            )
            for k in (1, 2)
        }
        missed = abs(slopes[2] / 2 - slopes[1]) / 3
        unfinished = residuals**2 / (2 * judge.samples) * stiff
        gradient_off = _gradient_slack(judge, result, residuals * stiff) * h
        worst.add(
            checks.approx(
                "weight gradients along a direction",
                along[1],
                slopes[1],
                Tolerance(
                    2 * missed + 2 * (rounding + unfinished) + gradient_off,
                    "a third of how far differences of two steps are apart, doubled; rounding; "
                    "and what the residual leaves of energy and gradient",
                ),
                source=ENVELOPE,
                where=f"direction {index + 1}",
            )
        )
    yield from worst


def _gradient_slack(judge: InferenceJudge, result: InferenceResult, dz: float) -> float:
    """How far the gradient at these activities may be from that at equilibrium.

    ``𝓕_θz δz`` with ``‖δz‖ ≤ ‖ρ‖/c``, each layer as in ``theory.unfinished_inference``.
    """
    activities = judge.clamped(result)
    # All errors together are no larger than the loss has them: 𝓕* ≤ 𝓛.
    size = max(float(np.linalg.norm(z)) for z in activities[:-1])
    size += float(np.sqrt(2 * judge.samples * judge.loss))
    return judge.network.depth * dz * (size + dz) / judge.samples
