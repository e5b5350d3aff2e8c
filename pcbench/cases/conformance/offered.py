"""The engines of inference by name, and which of them a backend offers for a network."""

from __future__ import annotations

from typing import Any

from pcbench.contract import (
    Backend,
    Capability,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    OdeInference,
)
from pcbench.judges.problem import Problem

ENGINES: dict[str, type[InferenceSettings]] = {
    "exact": ExactInference,
    "gradient": GradientInference,
    "ode": OdeInference,
    "gauss_newton": GaussNewtonInference,
    "error": ErrorInference,
}


def capability_of(engine: str) -> Capability:
    """The capability behind an engine."""
    capability: Capability = ENGINES[engine].capability
    return capability


def offered(backend: Backend[Any], problem: Problem) -> list[str]:
    """Engines that the backend declares, and that can treat the network."""
    return [
        engine
        for engine in ENGINES
        if capability_of(engine) in backend.capabilities
        and (problem.network.is_linear or engine != "exact")
    ]
