"""Whether what inference records, and says that it cost, is what happened."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.checks import Check, Tolerance
from pcbench.contract import InferenceSettings, OdeInference
from pcbench.judges.answers import InferenceResult
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.reported import CONTRACT, counted
from pcbench.theory.nonlinear.inference_steps import InferenceSteps, StepsRounding
from pcbench.theory.nonlinear.layered import feedforward, layered_energies
from pcbench.theory.rounding.layered import layered_rounding

# Evaluations of the flow that no step of a method can do without, where the first is the last one
# of the step before: Dormand & Prince 1980, Bogacki & Shampine 1989; of Heun's, one.
_STAGES = {"dopri5": 6, "bosh3": 3, "adaptive_heun": 1}


def record(
    judge: InferenceJudge,
    problem: Problem,
    label: str,
    result: InferenceResult,
    settings: InferenceSettings,
    u: float,
) -> Iterator[Check]:
    """Hold the first and the last row of a record against the theory, layer by layer.

    Parameters
    ----------
    judge, problem, label
        The judge of the problem, the problem, and the engine's name.
    result
        A well-formed answer to ``settings``, which asked for a record.
    settings
        What was asked.
    u
        The unit roundoff of the backend.
    """
    path, rows, depth = result.path, result.steps + 1, problem.network.n_layers
    seen = 0 if path is None else len(path)
    yield checks.approx(
        f"{label}: rows of the record", seen, rows, counted("rows"), source=CONTRACT
    )
    if path is not None and path.shape == (rows, depth):
        name = f"{label}: record, layer by layer"
        forward = [*feedforward(judge.network, problem.x)[:-1], problem.y]
        begun = layered_rounding(judge.network, forward, u, problem.precision).energies
        for row, activities, off in (
            (0, forward, np.add(begun, [0.0] * (depth - 1) + [judge.forward_rounding.loss])),
            (-1, judge.clamped(result), np.array(judge.rounding(result).energies)),
        ):
            yield checks.each_close(
                name,
                path[row],
                layered_energies(judge.network, activities, problem.precision),
                off.tolist(),
                f"rounding at u = {u:.2g} of each energy (theory.md 4)",
                source=CONTRACT,
            ).at("the end" if row else "the start")
    yield from passes(label, result, settings)


def passes(label: str, result: InferenceResult, settings: InferenceSettings) -> Iterator[Check]:
    """Check that a step has cost what it takes, at least: to go there, and to look for its slope.

    That is a pass forward and one back, as it is at the start; a Runge-Kutta step takes several.
    """
    if result.passes is None or not result.steps:
        return
    stages = _STAGES[settings.method] if isinstance(settings, OdeInference) else 1
    yield checks.at_least(
        f"{label}: passes",
        result.passes,
        2.0 * (1 + stages * result.steps),
        counted("passes"),
        source="a step takes a pass forward and one back (base.py)",
    )


def rows_close(
    label: str,
    path: Float[np.ndarray, "rows L"] | None,
    due: InferenceSteps,
    rounding: StepsRounding,
) -> Iterator[Check]:
    """Check every row of the record; one that has ended stays where it is."""
    name = f"{label}: record of every step"
    derivation = "what rounding makes of the same steps (theory.md 4.3)"
    kept = np.zeros((0, 0)) if path is None else path
    rows = np.minimum(np.arange(max(len(kept), len(due.energies))), len(due.energies) - 1)
    off = rounding.energies[rows] + 2.0**-126
    if kept.shape != due.energies[rows].shape:
        allowed = Tolerance(float(off.max()), derivation)
        where = "rows and layers of the record"
        yield checks.distance(name, kept, due.energies[rows], allowed, source=CONTRACT, where=where)
        return
    for place, row in enumerate(rows):
        yield checks.distance(
            name,
            kept[place],
            due.energies[row],
            Tolerance(float(off[place]), derivation),
            source=CONTRACT,
            where=f"row {place + 1}",
        )
