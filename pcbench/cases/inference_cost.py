"""What inference costs, by engine, and what stopping it early does to learning.

The equilibrium is where predictive coding is defined; getting there is its price. Here engines are
run to several residuals on one network and batch, and held against the definition of the energy;
in linear networks also against the closed form of every step that gradient inference takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from pcbench import checks
from pcbench.backends import (
    Capability,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    IterativeInference,
)
from pcbench.cases._descent import MAX_UNITS, descent_findings
from pcbench.cases._early import early_findings
from pcbench.cases._problem import Problem
from pcbench.cases._relaxed import Relaxed, RelaxedJudge, needs
from pcbench.cases.base import Case, CaseParameters, Columns, Context, Finding
from pcbench.checks import Check
from pcbench.data import DataField
from pcbench.networks import NetworkParameters

Residual = Annotated[PositiveFloat, Field(lt=1)]


class Parameters(CaseParameters):
    """What a suite may write under ``kind: inference_cost``."""

    data: DataField
    network: NetworkParameters
    engines: dict[str, InferenceSettings] = Field(
        min_length=1, description="Engines with their settings, under names of your choice."
    )
    residuals: list[Residual] = Field(
        default=[1e-2, 1e-4, 1e-6],
        min_length=1,
        description="Relative residuals to reach; each engine's own is ignored.",
    )
    unfinished: bool = Field(
        False, description="Whether an engine may spend its budget before the residual is reached."
    )
    early: list[PositiveInt] = Field(
        default=[], description="Steps after which gradient engines are stopped, to see the bias."
    )
    steps: list[PositiveInt] = Field(
        default=[],
        description="Steps after which gradient inference in a linear network is held against its "
        f"closed form; for up to {MAX_UNITS} hidden units.",
    )


class InferenceCost(Case[Parameters]):
    """Engines run to several residuals, judged and timed."""

    kind: ClassVar[str] = "inference_cost"
    description: ClassVar[str] = (
        "inference by several engines to several residuals: where each ends, in how many steps and "
        "passes, in what time, and what stopping early does"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[Capability]:
        """Return the capabilities behind the engines and the network."""
        return needs(self.parameters.network, self.parameters.engines)

    def run(self, context: Context) -> Iterator[Finding]:
        """Run every engine to every residual; then what early stopping and single steps do."""
        asked, backend = self.parameters, context.backend
        problem = Problem.pose(context, asked.data, asked.network)
        judge = RelaxedJudge(problem, backend.dtype)
        model = backend.build(problem.network, problem.parameters)
        x, y = backend.to_device(problem.x), backend.to_device(problem.y)
        yield context.measure("gradients of the loss (BP)", lambda: model.loss_gradients(x, y))

        runs = [
            (label, settings)
            for label, engine in asked.engines.items()
            for settings in to_residuals(engine, asked.residuals)
        ]
        worst, prices = checks.Worst(), Prices()
        best: tuple[float, Relaxed] | None = None
        try:
            for label, settings in context.progress("engines", runs, len(runs)):
                relaxed = Relaxed.ask(backend, model, problem, settings)
                made = list(self._judge(judge, label, relaxed, settings))
                worst.add(*made)
                if not checks.all_passed(made):
                    continue
                prices.add(label, settings, relaxed)
                residual = float(relaxed.residual)
                best = min(best or (residual, relaxed), (residual, relaxed), key=lambda one: one[0])
                # What was recorded for the judge is not part of the price.
                timed = settings.model_copy(update={"record": False})
                yield context.measure(f"{label}{_to(settings)}", partial(model.infer, x, y, timed))
        except Exception:
            yield from worst  # a later engine that gives up must not hide an earlier one's failure
            raise
        yield from worst
        yield from prices

        for label, engine in asked.engines.items():
            if isinstance(engine, GradientInference):
                if asked.early and best is not None:
                    yield from early_findings(
                        context, judge, problem, label, engine, asked.early, best[1]
                    )
                if asked.steps and problem.network.is_linear:
                    yield from descent_findings(context, judge, problem, label, engine, asked.steps)

    def _judge(
        self, judge: RelaxedJudge, label: str, relaxed: Relaxed, settings: InferenceSettings
    ) -> Iterator[Check]:
        made = list(
            judge.checks(label, relaxed, settings, must_converge=not self.parameters.unfinished)
        )
        yield from made
        if checks.all_passed(made[:1]) and isinstance(settings, GaussNewtonInference):
            yield from judge.never_rises(label, relaxed)


def to_residuals(engine: InferenceSettings, residuals: list[float]) -> Iterator[InferenceSettings]:
    """Yield the engine's settings for every residual; an exact engine knows none."""
    if isinstance(engine, ExactInference):
        yield engine
        return
    for residual in sorted(residuals, reverse=True):
        record = isinstance(engine, GaussNewtonInference)
        yield engine.model_copy(update={"residual": residual, "record": record})


def _to(settings: InferenceSettings) -> str:
    return f" to {settings.residual:.0e}" if isinstance(settings, IterativeInference) else ""


class Prices:
    """Collects, for each engine, what every residual cost."""

    def __init__(self) -> None:
        self._columns: dict[str, dict[str, list[float]]] = {}

    def add(self, label: str, settings: InferenceSettings, relaxed: Relaxed) -> None:
        """Add one run."""
        asked = settings.residual if isinstance(settings, IterativeInference) else 0.0
        unfinished = 0
        if relaxed.sample_residuals is not None:
            unfinished = int(np.sum(relaxed.sample_residuals > asked)) if asked else 0
        row: dict[str, Any] = {
            "residual asked for": asked,
            "residual reached": float(relaxed.residual),
            "converged": float(relaxed.converged),
            "steps": float(relaxed.steps),
            "passes": float("nan") if relaxed.passes is None else relaxed.passes,
            "samples above the residual": float(unfinished),
            "energy": relaxed.energy,
        }
        columns = self._columns.setdefault(label, {name: [] for name in row})
        for name, value in row.items():
            columns[name].append(value)

    def __iter__(self) -> Iterator[Columns]:
        for label, columns in self._columns.items():
            yield Columns(f"price of {label}", columns)
