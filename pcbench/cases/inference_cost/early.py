"""What stopping inference early does: to the energy, and to the gradients that learning follows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.case import Columns, Context, Finding
from pcbench.contract import GradientInference
from pcbench.judges.answers import NEVER, InferenceResult
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem


def early_findings(
    context: Context,
    judge: InferenceJudge,
    problem: Problem,
    label: str,
    engine: GradientInference,
    stops: list[int],
    settled: InferenceResult,
) -> Iterator[Finding]:
    """Stop gradient inference after each number of steps, and compare with the equilibrium.

    Parameters
    ----------
    context, judge, problem
        The case at hand.
    label, engine
        The engine, whose step is taken.
    stops
        After how many steps to stop.
    settled
        The answer nearest to equilibrium that any engine gave.
    """
    backend = context.backend
    model = backend.build(problem.network, problem.parameters)
    exact = _gradient(judge, settled)
    worst = checks.Worst()
    bias: dict[str, list[float]] = {
        "steps": [],
        "energy above the equilibrium's, relative": [],
        "angle of the weight gradient in degrees": [],
        "norm of the weight gradient, relative": [],
    }
    for stop in stops:
        settings = engine.model_copy(update={"max_steps": stop, "residual": NEVER, "halve": False})
        result = InferenceResult.ask(backend, model, problem, settings)
        made = list(judge.checks(f"{label} stopped", result, settings, must_converge=False))
        worst.add(*(check.at(f"{stop} steps") for check in made))
        if not checks.all_passed(made):
            continue
        gradient = _gradient(judge, result)
        sizes = float(np.linalg.norm(gradient)), float(np.linalg.norm(exact))
        cosine = float(gradient @ exact) / (sizes[0] * sizes[1] or 1.0)
        row = (
            stop,
            result.energy / settled.energy - 1 if settled.energy else 0.0,
            np.degrees(np.arccos(np.clip(cosine, -1, 1))),
            sizes[0] / sizes[1] if sizes[1] else 1.0,
        )
        for column, value in zip(bias.values(), row, strict=True):
            column.append(float(value))
    yield from worst
    yield Columns(f"bias of {label} stopped early", bias)


def _gradient(judge: InferenceJudge, result: InferenceResult) -> Float[np.ndarray, " P"]:
    """``∂𝓕/∂θ`` at the activities reached, all parameters in one vector."""
    return np.concatenate([gradient.ravel() for gradient in judge.gradients(result)])
