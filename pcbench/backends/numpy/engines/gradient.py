"""Gradient descent on the energy in the hidden activities, as its settings describe it."""

from __future__ import annotations

from pcbench.backends.numpy.engines.account import Account
from pcbench.backends.numpy.maps import Batch
from pcbench.backends.numpy.state import Clamped
from pcbench.contract.inference import GradientInference
from pcbench.contract.model import Inference


def infer_by_gradient(clamped: Clamped, settings: GradientInference) -> Inference[Batch]:
    """``z ← z - step · ∂(N𝓕)/∂z`` until the residual is reached or the budget is spent.

    With ``halve``, the step is halved after every step that raised the energy, and inference ends
    where that brings it to ``smallest_step``.
    """
    state = clamped.feedforward()
    account = Account(state, settings)
    step, spent, energy = settings.step, False, state.energies().sum()
    while not (account.over or spent):
        state = state.moved([-step * slope for slope in state.slopes()])
        account.step(state, passes=2.0)  # forward to the errors, back to the slopes
        if settings.halve:
            before, energy = energy, state.energies().sum()
            step = step / 2 if energy > before else step
            spent = step <= settings.smallest_step
    return account.close(state)
