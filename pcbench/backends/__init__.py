"""Who computes: the contract that a backend fulfils, and the backends that pcbench ships."""

from pcbench.backends.base import (
    Backend,
    BackendUnavailableError,
    DType,
    Hessian,
    Inference,
    Model,
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
from pcbench.backends.training import (
    Adam,
    Objective,
    Optimiser,
    Record,
    Sgd,
    Trainer,
    TrainingSettings,
)

__all__ = [
    "Adam",
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
    "Optimiser",
    "Record",
    "Sgd",
    "Trainer",
    "TrainingSettings",
]
