"""Gradient descent on the energy in the prediction errors (Goemaere et al. 2025)."""

from __future__ import annotations

from pcbench.backends.numpy.engines.account import Account
from pcbench.backends.numpy.maps import Batch
from pcbench.backends.numpy.state import Clamped, State
from pcbench.contract.inference import ErrorInference
from pcbench.contract.model import Inference


def infer_by_errors(clamped: Clamped, settings: ErrorInference) -> Inference[Batch]:
    """``e ← e - step · ∂(N𝓕)/∂e`` until the residual is reached or the budget is spent."""
    state = clamped.feedforward()
    account = Account(state, settings)
    while not account.over:
        slopes = error_slopes(state)
        state = clamped.roll_out(
            [e - settings.step * slope for e, slope in zip(state.errors[:-1], slopes, strict=True)]
        )
        account.step(state, passes=3.0)  # forward, back in the errors, back in the activities
    return account.close(state)


def error_slopes(state: State) -> list[Batch]:
    """``∂(N𝓕)/∂e_l = e_l - λ_l``, where an error moves all layers above it.

    ``z_l = f_l(z_{l-1}) + e_l``, so ``∂ŷ/∂e_l = J_L ⋯ J_{l+1}``: ``λ_l = J_{l+1}ᵀ λ_{l+1}``, from
    ``λ_L = Π e_L``, is what the output's force comes to there.
    """
    pulled, slopes = state.forces[-1], []
    for layer, error in zip(state.evaluated[:0:-1], state.errors[-2::-1], strict=True):
        pulled = layer.pull(pulled)
        slopes.append(error - pulled)
    return slopes[::-1]
