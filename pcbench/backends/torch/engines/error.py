"""Error-based inference: gradient descent in the prediction errors (arXiv:2505.20137)."""

from __future__ import annotations

from torch import Tensor

from pcbench.backends.torch.engines.relaxation import Batch, Progress, Relaxation, View
from pcbench.contract.inference import ErrorInference
from pcbench.contract.model import Inference


def infer_by_errors(relaxation: Relaxation, settings: ErrorInference) -> Inference[Tensor]:
    """Descend in ``e_1 … e_{L-1}`` until the residual is reached or the budget is spent.

    With ``z_l = f_l(z_{l-1}) + e_l`` the energy is a function of the hidden errors alone. Its
    gradient, ``e_l - λ_l`` with ``λ_l = J_{l+1}ᵀ λ_{l+1}`` and ``λ_L = π e_L``, is backpropagation:
    one step carries the output's error to all layers. Of ``I + KᵀK`` (``K`` the layers' reach to
    the output), its Hessian in a linear network, at most ``d_L`` eigenvalues are not 1. Every
    replica stays where it would end alone.
    """
    view = relaxation.feedforward()
    progress = Progress(view, settings.residual, record=settings.record)
    progress.passes += 1
    while not progress.ended and progress.step < settings.max_steps:
        errors = [
            error - settings.step * (error - pulled)
            for error, pulled in zip(view.errors[:-1], backpropagated(view), strict=True)
        ]
        view = relaxation.roll_out(progress.hold(errors, view.errors[:-1]))
        progress.step += 1
        progress.passes += 3  # roll out, pull for the step, pull for the residual
        progress.meet(view, view.slopes())
    return progress.close(view)


def backpropagated(view: View, output: Batch | None = None) -> list[Batch]:
    """``λ_1 … λ_{L-1}``, from ``λ_L = π e_L`` or the force given."""
    pulled = [view.forces[-1] if output is None else output]
    for tangent in view.tangents[:0:-1]:
        pulled.append(tangent.pull(pulled[-1]))
    return pulled[:0:-1]
