"""An engine of inference as a plug-in has it: settings, a backend that offers it, and mistakes."""

from dataclasses import replace
from typing import Literal

from pydantic import Field, PositiveFloat

from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.numpy.engines.account import Account
from pcbench.backends.numpy.model import NumpyModel
from pcbench.contract import IterativeInference


class MomentumInference(IterativeInference):
    """Gradient descent with momentum on the energy in the hidden activities."""

    engine: Literal["momentum"] = "momentum"
    step: PositiveFloat = Field(0.02, description="In units of the inverse curvature.")
    momentum: float = Field(0.9, ge=0, lt=1, description="What is kept of the step before.")

    @classmethod
    def cautious(cls, curvature, **settings):
        """Take a step with which energy and the square of the last step come down together."""
        own = cls(**settings)
        return own.model_copy(update={"step": (1 - own.momentum) / curvature} | settings)


def infer_by_momentum(clamped, settings):
    """``v ← β v - η ∂(N𝓕)/∂z``, ``z ← z + v``."""
    state = clamped.feedforward()
    account, moving = Account(state, settings), [0.0] * len(state.hidden)
    while not account.over:
        moving = [
            settings.momentum * v - settings.step * slope
            for v, slope in zip(moving, state.slopes(), strict=True)
        ]
        state = state.moved(moving)
        account.step(state, passes=2.0)
    return account.close(state)


def offering(infer, name):
    """Return the reference backend with no engine but this one, computed by this function."""
    engines = {**NumpyModel.engines, MomentumInference: infer}
    model = type("MomentumModel", (NumpyModel,), {"engines": engines})
    able = {MomentumInference.capability, "nonlinear", "replicas", "training"}
    return type(
        name, (NumpyBackend,), {"name": name, "capabilities": frozenset(able), "model": model}
    )


def uphill(clamped, settings):
    """Takes the slope with the wrong sign."""
    settings = settings.model_copy(update={"max_steps": min(settings.max_steps, 3)})
    back = settings.model_copy(update={"step": -settings.step})
    return infer_by_momentum(clamped, back)


def always_arrived(clamped, settings):
    """Says that it has converged wherever it ends."""
    return replace(infer_by_momentum(clamped, settings), converged=True)


def beyond_its_budget(clamped, settings):
    """Takes a step more than it may."""
    more = settings.model_copy(update={"max_steps": settings.max_steps + 1})
    return infer_by_momentum(clamped, more)


def of_half_the_budget(clamped, settings):
    """Stops half way, and says so."""
    less = settings.model_copy(update={"max_steps": (settings.max_steps + 1) // 2})
    return infer_by_momentum(clamped, less)


def without_a_record(clamped, settings):
    """Records nothing."""
    return replace(infer_by_momentum(clamped, settings), path=None)


def smaller_residual(clamped, settings):
    """Says half of the residual that is left."""
    answer = infer_by_momentum(clamped, settings)
    return replace(answer, residual=answer.residual / 2)


MISTAKES = {
    infer.__name__: infer
    for infer in (
        uphill,
        always_arrived,
        beyond_its_budget,
        of_half_the_budget,
        without_a_record,
        smaller_residual,
    )
}
