r"""Inference by Gauss-Newton in the prediction errors, damped sample by sample.

With ``z_l = f_l(z_{l-1}) + e_l`` the energy of a sample is ``½ Σ_{l<L} ‖e_l‖² + ½ (y - ŷ(e))ᵀ Π (y
- ŷ(e))``, a least-squares problem in the hidden errors. Linearised at the current activities it is
inference in a linear network (theory.md 2.2, 3.3) with a ``d_L × d_L`` system a sample. With ``K_l
= J_L ⋯ J_{l+1}``, ``T = Σ_{l<L} K_l K_lᵀ`` and ``θ = 1/(1 + μ)``, where ``μ`` is the damping,

.. math::
    (I + θ T Π) ê_L = e_L + θ \sum_{l<L} K_l e_l, \qquad λ_L = Π ê_L, \qquad
    ê_l = e_l + θ (K_l^T λ_L - e_l) .

``μ = 0`` solves the linearised problem; ``μ → ∞`` is a short step of error-based inference. The
step is tried on the network itself, and taken by the samples whose energy it does not raise.

``K_l`` of one layer at a time is all that is held: ``N × d_L × width`` numbers.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.base import Inference
from pcbench.backends.inference import GaussNewtonInference
from pcbench.backends.torch.engines.error import backpropagated
from pcbench.backends.torch.engines.relaxation import Batch, Progress, Relaxation, View

# Damping: where it starts once a step went wrong, and when it is none or all.
_FIRST, _NONE, _ALL = 0.1, 1e-3, 1e8
# What becomes of it, by the part of the promised decrease that a step brought: less than the first
# bound, more than the second.
_POOR, _GOOD = 0.25, 0.75
_RAISE, _REFUSE, _LOWER = 2.0, 4.0, 1 / 3


def infer_by_gauss_newton(
    relaxation: Relaxation, settings: GaussNewtonInference
) -> Inference[Tensor]:
    """Iterate until every sample has reached the residual, or the budget is spent.

    A sample that has arrived is left alone. One whose damping has grown beyond all bounds stays
    where it is: no step that rounding can tell from none lowers its energy.
    """
    view = relaxation.feedforward()
    progress = Progress(view, settings.residual, record=settings.record, by_sample=True)
    progress.passes += 1
    energy = view.sample_energies()
    damping = torch.zeros_like(energy)
    while not progress.ended and progress.step < settings.max_steps:
        target, promised = _solve(view, damping)
        trial = relaxation.roll_out(target)
        tried = trial.sample_energies()
        lower = (tried <= energy) & ~progress.done
        damping = _damp(damping, lower, (energy - tried) / (energy - promised))
        view, passes = _merge(relaxation, view, trial, lower)
        energy = torch.where(lower, tried, energy)
        progress.step += 1
        progress.passes += relaxation.y.shape[-1] + 3 + passes
        progress.meet(view, view.slopes())
        progress.ended |= bool((progress.done | (damping > _ALL)).all())
    return progress.close(view)


def _damp(damping: Tensor, lower: Tensor, gain: Tensor) -> Float[Tensor, "*#R N"]:
    """Raise the damping where the linearised network promised too much, and lower it else.

    A step that was merely accepted is no reason to lower it: the next one would overshoot again.
    """
    factor = torch.where(gain > _GOOD, _LOWER, torch.where(gain < _POOR, _RAISE, 1.0))
    factor = torch.where(lower, factor, _REFUSE)
    raised = torch.clamp(damping * factor, min=_FIRST)
    damping = torch.where(factor > 1, raised, damping * factor)
    return torch.where(damping < _NONE, 0.0, damping)


def _solve(
    view: View, damping: Float[Tensor, "*#R N"]
) -> tuple[list[Batch], Float[Tensor, "*#R N"]]:
    """Solve the linearised, damped problem: hidden errors, and the energy that they promise."""
    d_out = view.errors[-1].shape[-1]
    theta = 1 / (1 + damping)
    reach = torch.eye(d_out, dtype=damping.dtype, device=damping.device)
    reach = reach.expand(*damping.shape, d_out, d_out)
    covariance = torch.zeros_like(reach)
    carried = torch.zeros_like(view.errors[-1])
    for tangent, error in zip(view.tangents[:0:-1], view.errors[-2::-1], strict=True):
        reach = tangent.pull(reach)  # K_l, a row for every output
        covariance = covariance + reach @ reach.mT
        carried = carried + (reach @ error.unsqueeze(-1)).squeeze(-1)
    right = view.errors[-1] + theta.unsqueeze(-1) * carried
    # With Π = P², (I + θ P T P) v = P right is symmetric, and λ_L = P v.
    system = theta[..., None, None] * covariance
    precision = view.relaxation.precision
    if precision is not None:
        root = precision.sqrt()
        system, right = root.unsqueeze(-1) * system * root.unsqueeze(-2), root * right
    factor, _ = torch.linalg.cholesky_ex(
        system + torch.eye(d_out, dtype=system.dtype, device=system.device)
    )
    force = torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)
    if precision is not None:
        force = root * force
    target = [
        error + theta.unsqueeze(-1) * (pulled - error)
        for error, pulled in zip(view.errors[:-1], backpropagated(view, force), strict=True)
    ]
    reached = (covariance @ force.unsqueeze(-1)).squeeze(-1)
    output = view.errors[-1] + theta.unsqueeze(-1) * (carried - reached)
    promised = (output * view.relaxation.weigh(output)).sum(-1)
    for error in target:
        promised = promised + error.square().sum(-1)
    return target, promised / 2


def _merge(relaxation: Relaxation, old: View, new: View, chosen: Tensor) -> tuple[View, int]:
    """Take the new view for the chosen samples; also return the passes that it cost."""
    if bool(chosen.all()):
        return new, 0
    errors = [
        torch.where(chosen.unsqueeze(-1), theirs, ours)
        for ours, theirs in zip(old.errors[:-1], new.errors[:-1], strict=True)
    ]
    return relaxation.roll_out(errors), 1
