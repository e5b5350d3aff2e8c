"""The contract of a backend: all that cases and the audit ever see of whoever computes."""

from pcbench.contract.backend import (
    Backend,
    BackendUnavailableError,
    DType,
    Hessian,
    Inference,
    Model,
)
from pcbench.contract.capability import Capability
from pcbench.contract.inference import (
    ENGINES,
    Engine,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    IterativeInference,
    OdeInference,
    engine_settings,
    engines,
)
from pcbench.contract.training import (
    Adam,
    Objective,
    Optimiser,
    Record,
    Sgd,
    Trainer,
    TrainingSettings,
)

__all__ = [
    "ENGINES",
    "Adam",
    "Backend",
    "BackendUnavailableError",
    "Capability",
    "DType",
    "Engine",
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
    "engine_settings",
    "engines",
]
