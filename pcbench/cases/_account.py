"""What every answer must say of itself, before whichever judge it stands."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.backends import GaussNewtonInference, IterativeInference
from pcbench.checks import Check, Tolerance

DEFINITION = "definitions of energy and loss (theory.md 1)"
STATIONARITY = "stationarity in the activities (theory.md 2.2)"
CONTRACT = "the contract of a backend (pcbench/backends/base.py)"
COUNT = Tolerance(0.5, "a count is right or it is not")


def arrived(
    settings: IterativeInference,
    residual: Float[np.ndarray, ""],
    sample_residuals: Float[np.ndarray, " N"] | None,
) -> bool:
    """Whether an answer with these residuals may call itself converged.

    Gauss-Newton treats samples one by one, and has to bring every one of them there.
    """
    if isinstance(settings, GaussNewtonInference) and sample_residuals is not None:
        return bool(np.max(sample_residuals) <= settings.residual)
    return bool(residual <= settings.residual)


def diverged(label: str, energy: float, steps: int, bound: float) -> Check:
    """Fail an answer with numbers that are not finite, and say what happened.

    ``label`` goes before the name of the check; ``bound`` is what the energy should be at most.
    """
    failed = checks.at_most(
        f"{label}finite energy",
        np.nan if np.isfinite(energy) else energy,
        bound,
        COUNT,
        source="inference begins at the feedforward activities, where the energy is the loss",
    )
    story = f"inference diverged: after {steps} steps the energy is {energy:.3g}"
    if np.isfinite(energy):
        story += ", and an answer is not finite"
    return failed.model_copy(update={"message": f"{label}{story}."})


def differing(
    name: str,
    ones: list[Float[np.ndarray, "..."]],
    others: list[Float[np.ndarray, "..."]],
    *,
    extra: bool = False,
) -> Check:
    """Count numbers that differ; what is not a number is the same as itself."""
    differing = int(extra)
    for one, other in zip_longest(ones, others):
        if one is None or other is None or one.shape != other.shape:
            differing += 1
        else:
            differing += int(np.sum((one != other) & ~(np.isnan(one) & np.isnan(other))))
    return checks.at_most(name, differing, 0, COUNT, source=CONTRACT)
