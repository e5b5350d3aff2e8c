"""The contract of a backend: all that cases and the audit ever see of one."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcbench.contract.backend import Backend, DType
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
    from pcbench.contract.model import BackendUnavailableError, Hessian, Inference, Model
    from pcbench.contract.parts import Capability
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

_MODULES = ("backend", "inference", "model", "parts", "training")


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: who reads only the parts of the contract needs no NumPy.

    Raises
    ------
    AttributeError
        If the contract has no such name.
    """
    for module in _MODULES if name in __all__ else ():
        found = import_module(f"{__name__}.{module}")
        if hasattr(found, name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
