"""From settings to an engine and its numbers."""

from __future__ import annotations

from pcbench.backends.jax.engines.descent import ActivityDescent, ErrorDescent
from pcbench.backends.jax.engines.gauss_newton import GaussNewton
from pcbench.backends.jax.engines.relaxation import Engine, Limits
from pcbench.contract.inference import (
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
    IterativeInference,
)


def engine(settings: IterativeInference) -> tuple[Engine, Limits]:
    """Tell what is compiled for from what is only computed with."""
    limits = Limits(settings.residual, settings.max_steps)
    match settings:
        case GradientInference():
            limits = limits._replace(step=settings.step, smallest_step=settings.smallest_step)
            return ActivityDescent(settings.halve), limits
        case ErrorInference():
            return ErrorDescent(), limits._replace(step=settings.step)
        case GaussNewtonInference():
            return GaussNewton(settings.reuse), limits
        case _:
            raise TypeError(f"no engine of JAX for {settings!r}")
