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
from pcbench.contract import GaussNewtonInference, InferenceSettings, Model
from pcbench.data import DataField
from pcbench.judges.account import CONTRACT, array_names, counted
from pcbench.judges.agreement import agreement, is_smooth, stiffness
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.relaxed import Relaxed, engines_of, infer, needs
from pcbench.judges.relaxed_judge import RelaxedJudge
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
        description="Engines with their settings, under names of your choice. The first is the "
        "one that the others are compared with, and whose gradients are checked. Those that a "
        "backend does not offer are left out.",
    )
    unfinished: bool = Field(
        False, description="Whether an engine may spend its budget before the residual is reached."
    )
    observed: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Probability that an output is observed; the precision of others is 0, and "
        "their targets are not numbers.",
    )
    directions: PositiveInt = Field(
        3, description="Random directions of the weights, along which gradients are checked."
    )


class Equilibrium(Case[Parameters]):
    """Residuals, engines and gradients at the equilibrium of any network."""

    kind: ClassVar[str] = "equilibrium"
    description: ClassVar[str] = (
        "the equilibrium of a network, linear or not: residuals, agreement of the engines, and "
        "weight gradients against differences of the equilibrated energy"
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
        judge = RelaxedJudge(problem, backend.dtype)
        model = backend.build(problem.network, problem.parameters)
        found: dict[str, Relaxed] = {}
        engines = offered.items()
        for label, settings in context.progress("engines", engines, len(engines)):
            monotone = isinstance(settings, GaussNewtonInference)
            if monotone:
                settings = settings.model_copy(update={"record": True})
            relaxed = Relaxed.ask(backend, model, problem, settings)
            made = list(judge.checks(label, relaxed, settings, must_converge=not asked.unfinished))
            if monotone and checks.all_passed(made):
                made += judge.never_rises(label, relaxed)
            if checks.all_passed(made[:1]) and problem.network.is_linear and not asked.unfinished:
                made.append(theorem_1(judge, problem, label, relaxed, settings))
            yield from made
            if checks.all_passed(made):
                found[label] = relaxed
        (first, settings), *_ = engines
        if first not in found:
            return
        arrived = {
            label: relaxed
            for label, relaxed in found.items()
            if relaxed.converged or not asked.unfinished  # else judged to have arrived above
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
        judge: RelaxedJudge,
        model: Model[Any],
        problem: Problem,
        relaxed: Relaxed,
    ) -> Iterator[Check]:
        """Hold the gradients at the activities reached against their definition."""
        backend = context.backend
        activities = judge.clamped(relaxed)
        staged = [backend.to_device(activity) for activity in activities]
        precision = problem.precision
        gradients = (
            model.energy_gradients(staged)
            if precision is None
            else model.energy_gradients(staged, backend.to_device(precision))
        )
        seen = [backend.to_host(gradient) for gradient in gradients]
        rounding, expected = judge.rounding(relaxed), judge.gradients(relaxed)
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
    judge: RelaxedJudge,
    problem: Problem,
    settings: InferenceSettings,
    relaxed: Relaxed,
    directions: int,
) -> Iterator[Check]:
    """Compare the gradient along random directions with central differences of ``𝓕*``.

    Two steps, ``h`` and ``2h``, give the difference and an estimate of what it leaves out: the
    error of the first is a third of how far they are apart, up to fourth order.
    """
    rng, dtype = context.rng("directions"), context.backend.dtype
    gradient, stiff = judge.gradients(relaxed), stiffness(judge.least_curvatures(relaxed))
    rounding = sum(judge.rounding(relaxed).energies)
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
            answer = Relaxed.ask(context.backend, model, there, settings)
            energies[k] = answer.energy
            judge_there = RelaxedJudge(there, dtype)
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
        gradient_off = _gradient_slack(judge, relaxed, residuals * stiff) * h
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


def _gradient_slack(judge: RelaxedJudge, relaxed: Relaxed, dz: float) -> float:
    """How far the gradient at these activities may be from that at equilibrium.

    ``𝓕_θz δz`` with ``‖δz‖ ≤ ‖ρ‖/c``, each layer as in ``theory.unfinished_inference``.
    """
    activities = judge.clamped(relaxed)
    # All errors together are no larger than the loss has them: 𝓕* ≤ 𝓛.
    size = max(float(np.linalg.norm(z)) for z in activities[:-1])
    size += float(np.sqrt(2 * judge.samples * judge.loss))
    return judge.network.depth * dz * (size + dz) / judge.samples
