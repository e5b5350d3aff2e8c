"""Who computes: the contract that a backend fulfils, and the backends that pcbench ships."""

from pcbench.backends.base import (
    Backend,
    BackendUnavailableError,
    DType,
    Hessian,
    Inference,
    Model,
    Objective,
)
from pcbench.backends.capability import Capability
from pcbench.backends.inference import (
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    IterativeInference,
    OdeInference,
)

__all__ = [
    "Backend",
    "BackendUnavailableError",
    "Capability",
    "DType",
    "ErrorInference",
    "ExactInference",
    "GaussNewtonInference",
    "GradientInference",
    "Hessian",
    "Inference",
    "InferenceSettings",
    "IterativeInference",
    "Model",
    "Objective",
    "OdeInference",
]
