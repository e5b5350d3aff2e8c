"""What inference costs, by engine, and what stopping it early does to learning.

The equilibrium is where predictive coding is defined; getting there is its price. Here engines are
run to several residuals on one network and batch, and held against the definition of the energy;
in linear networks also against the closed form of every step that gradient inference takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from pcbench import checks
from pcbench.case import Case, CaseParameters, Columns, Context, Finding
from pcbench.cases.inference_cost.descent import MAX_UNITS, descent_findings
from pcbench.contract import (
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    IterativeInference,
)
from pcbench.data import DataField
from pcbench.judges.agreement import agreement, is_smooth
from pcbench.judges.answers import NEVER, InferenceResult, Subject, engines_of, needs
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.points import joined
from pcbench.judges.problem import Problem
from pcbench.networks import NetworkParameters

Residual = Annotated[PositiveFloat, Field(lt=1)]


class Parameters(CaseParameters):
    """What a suite may write under ``kind: inference_cost``."""

    data: DataField
    network: NetworkParameters
    engines: dict[str, InferenceSettings] = Field(
        min_length=1,
        description="Engines with their settings, under names of your choice. Engines that a "
        "backend does not offer are left out.",
    )
    residuals: list[Residual] = Field(
        default=[1e-2, 1e-4, 1e-6],
        min_length=1,
        description="Relative residuals to reach; engines must not set one of their own.",
    )
    unfinished: bool = Field(
        False, description="Whether an engine may use up its steps before it reaches the residual."
    )
    compared: PositiveInt = Field(
        8,
        description="Number of samples whose activities are compared between engines that "
        "converged.",
    )
    early: list[PositiveInt] = Field(
        default=[],
        description="Numbers of steps after which gradient engines are stopped, to measure the "
        "bias.",
    )
    steps: list[PositiveInt] = Field(
        default=[],
        description="Steps after which gradient inference in a linear network is held against its "
        f"closed form; for up to {MAX_UNITS} hidden units.",
    )

    def contradictions(self) -> Iterator[str]:
        """Say which settings do not fit together."""
        for label, engine in self.engines.items():
            if "residual" in engine.model_fields_set:
                yield (
                    f"engines.{label}.residual goes unused: every engine is run to each of "
                    "residuals; write it there"
                )
        gradient = any(isinstance(each, GradientInference) for each in self.engines.values())
        for name in ("early", "steps"):
            if getattr(self, name) and not gradient:
                yield (
                    f"{name} is about engines that descend the gradient, and goes unused without "
                    "one; leave it out, or give one with engine: gradient"
                )
        if self.steps and not self.network.is_linear:
            yield (
                "steps are held against a closed form, that of linear networks without biases, and "
                "go unused in others; leave steps out"
            )


class InferenceCost(Case[Parameters]):
    """Engines run to several residuals, judged and timed."""

    kind: ClassVar[str] = "inference_cost"
    alone: ClassVar[bool] = True
    description: ClassVar[str] = (
        "inference by several engines to several residuals: where each ends, how many "
        "steps, passes and seconds it takes, and what stopping early changes"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return the capabilities behind the network; engines that are missing are left out."""
        return needs(self.parameters.network, {})

    def run(self, context: Context) -> Iterator[Finding]:
        """Run every engine to every residual; then what early stopping and single steps do."""
        asked, backend = self.parameters, context.backend
        engines, omitted = engines_of(backend, asked.engines)
        yield from omitted
        problem = Problem.pose(context, asked.data, asked.network)
        subject, judge = Subject(backend, problem), InferenceJudge(problem, backend.dtype)
        model, batch = subject.model, subject.batch
        yield context.measure("gradients of the loss (BP)", lambda: model.loss_gradients(*batch))
        yield from self._prices(context, subject, judge, engines)
        for label, engine in engines.items():
            if isinstance(engine, GradientInference) and asked.steps:
                yield from descent_findings(subject, judge, label, engine, asked.steps)

    def _prices(
        self,
        context: Context,
        subject: Subject,
        judge: InferenceJudge,
        engines: dict[str, InferenceSettings],
    ) -> Iterator[Finding]:
        """Run and time every engine to every residual, and compare where they end."""
        asked, problem = self.parameters, subject.problem
        worst, prices = checks.Worst(), Prices()
        runs = [
            (label, settings)
            for label, engine in engines.items()
            for settings in to_residuals(engine, asked.residuals)
        ]
        try:
            for label, settings in context.progress("engines", runs, len(runs)):
                if label in prices.spent:
                    continue  # it would miss a smaller residual in the same way
                result = subject.infer(settings)
                must_converge = not asked.unfinished
                made = list(judge.checks(label, result, settings, must_converge=must_converge))
                if checks.all_passed(made[:1]) and isinstance(settings, GaussNewtonInference):
                    made += judge.never_rises(label, result)
                worst.add(*made)
                if not checks.all_passed(made):
                    continue
                details = prices.add(label, settings, result)
                # What was recorded for the judge is not part of the price.
                timed = settings.model_copy(update={"record": False})
                name = label
                if isinstance(settings, IterativeInference):
                    name += f" to {settings.residual:.0e}"
                timing = context.measure(name, partial(subject.relax, timed))
                yield replace(timing, details=details)
            if is_smooth(problem.network) and len(prices.arrived) > 1:
                yield from agreement(problem, prices.arrived, samples=asked.compared)
        except Exception:
            yield from worst  # a later engine that gives up must not hide an earlier one's failure
            raise
        yield from worst
        yield from prices
        for label, engine in engines.items():
            if isinstance(engine, GradientInference) and asked.early and prices.nearest is not None:
                yield from early_findings(
                    subject, judge, label, engine, asked.early, prices.nearest
                )


def to_residuals(engine: InferenceSettings, residuals: list[float]) -> Iterator[InferenceSettings]:
    """Yield the engine's settings for every residual; an exact engine knows none."""
    if isinstance(engine, ExactInference):
        yield engine
        return
    for residual in sorted(residuals, reverse=True):
        record = isinstance(engine, GaussNewtonInference)
        yield engine.model_copy(update={"residual": residual, "record": record})


class Prices:
    """Collects, for each engine, what every residual cost.

    ``arrived`` has the answer of each engine to the smallest residual that it reached, ``nearest``
    is the one with the smallest of all, and ``spent`` are engines whose budget ended before a
    residual.
    """

    def __init__(self) -> None:
        self.arrived: dict[str, InferenceResult] = {}
        self.nearest: InferenceResult | None = None
        self.spent: set[str] = set()
        self._rows: dict[str, list[dict[str, float]]] = {}
        self._short: dict[str, Columns] = {}

    def add(
        self, label: str, settings: InferenceSettings, result: InferenceResult
    ) -> dict[str, float]:
        """Add one run; return what it cost, for the table of timings."""
        asked = settings.residual if isinstance(settings, IterativeInference) else 0.0
        if result.converged:
            self.arrived[label] = result
        else:
            self.spent.add(label)
        if self.nearest is None or result.residual < self.nearest.residual:
            self.nearest = result
        residuals = np.empty(0) if result.sample_residuals is None else result.sample_residuals
        short = np.flatnonzero(~(residuals <= asked)) if asked else np.empty(0, int)
        self._short.pop(label, None)
        if len(short):
            reached = residuals[short].astype(float).tolist()
            columns = {"sample": short.astype(float).tolist(), "residual reached": reached}
            self._short[label] = Columns(f"samples of {label} above the residual", columns)
        cost = {
            "steps": float(result.steps),
            "passes": float("nan") if result.passes is None else result.passes,
            "residual reached": float(result.residual),
            "samples short of it": float(len(short)),
        }
        row = {
            "residual asked for": asked,
            "converged": float(result.converged),
            "energy": result.energy,
            **cost,
        }
        self._rows.setdefault(label, []).append(row)
        return cost

    def __iter__(self) -> Iterator[Columns]:
        for label, rows in self._rows.items():
            columns = {name: [row[name] for row in rows] for name in rows[0]}
            yield Columns(f"price of {label}", columns)
        yield from self._short.values()


def early_findings(
    subject: Subject,
    judge: InferenceJudge,
    label: str,
    engine: GradientInference,
    stops: list[int],
    settled: InferenceResult,
) -> Iterator[Finding]:
    """Stop gradient inference after each number of steps, and compare with the equilibrium.

    ``settled`` is the answer nearest to equilibrium that any engine gave.
    """
    exact = joined(judge.gradients(settled))
    worst = checks.Worst()
    bias: list[tuple[float, ...]] = []
    for stop in stops:
        settings = engine.model_copy(update={"max_steps": stop, "residual": NEVER, "halve": False})
        result = subject.infer(settings)
        made = list(judge.checks(f"{label} stopped", result, settings, must_converge=False))
        worst.add(*(check.at(f"{stop} steps") for check in made))
        if not checks.all_passed(made):
            continue
        gradient = joined(judge.gradients(result))
        size, due = float(np.linalg.norm(gradient)), float(np.linalg.norm(exact))
        above = result.energy / settled.energy - 1 if settled.energy else 0.0
        angle = np.degrees(np.arccos(np.clip(float(gradient @ exact) / (size * due or 1.0), -1, 1)))
        bias.append((stop, above, angle, size / due if due else 1.0))
    yield from worst
    names = (
        "steps",
        "energy above the equilibrium's, relative",
        "angle of the weight gradient in degrees",
        "norm of the weight gradient, relative",
    )
    yield Columns.of_rows(f"bias of {label} stopped early", names, bias)
