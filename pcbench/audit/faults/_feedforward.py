"""The activities of a forward pass, from the contract alone."""

from __future__ import annotations

from typing import Any

from pcbench.audit.wrappers import FaultyModel
from pcbench.contract import (
    Capability,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
)

# The shortest way first. At the feedforward activities nothing pulls but rounding: one step of any
# engine stays there.
_ENGINES: dict[Capability, InferenceSettings] = {
    Capability.GRADIENT_INFERENCE: GradientInference(max_steps=1, step=1e-3),
    Capability.ERROR_INFERENCE: ErrorInference(max_steps=1, step=1e-3),
    Capability.GAUSS_NEWTON_INFERENCE: GaussNewtonInference(max_steps=1),
    Capability.EXACT_INFERENCE: ExactInference(),
}


def feedforward(model: FaultyModel, x: Any) -> list[Any]:
    """Return ``z_0 … z_L`` of the forward pass.

    It is the equilibrium where the target is the prediction: no error is left anywhere.
    """
    offered = model.backend.capabilities
    engine = next(engine for needed, engine in _ENGINES.items() if needed in offered)
    return list(model.inner.infer(x, model.inner.predict(x), engine).activities)
