"""Who computes: the contract that a backend fulfils, and the backends that pcbench ships."""

from pcbench.backends.base import (
    Backend,
    BackendUnavailableError,
    Capability,
    DType,
    Inference,
    Model,
    Objective,
)
from pcbench.backends.inference import ExactInference, GradientInference, InferenceSettings

__all__ = [
    "Backend",
    "BackendUnavailableError",
    "Capability",
    "DType",
    "ExactInference",
    "GradientInference",
    "Inference",
    "InferenceSettings",
    "Model",
    "Objective",
]
