"""The contract of a backend: all that cases and the audit ever see of whoever computes."""

from pcbench.contract.backend import Backend, DType
from pcbench.contract.capability import Capability
from pcbench.contract.inference import (
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    IterativeInference,
    OdeInference,
)
from pcbench.contract.model import BackendUnavailableError, Hessian, Inference, Model
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
