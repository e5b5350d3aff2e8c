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

A linearisation is dear, ``d_L`` vectors a sample through all layers, and serves several steps. From
activities that have moved on, with the true gradient ``g_l = e_l - λ_l`` there, a further step is

.. math::
    ê_l = e_l - θ (g_l - θ K_l^T P v), \qquad (I + θ P T P) v = P \sum_{l<L} K_l g_l ,

with ``Π = P²``: the first form where nothing has moved, at the price of a few passes.

``K_l`` of one layer at a time is all that is held: ``N × d_L × width`` numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.descent import backpropagated
from pcbench.backends.torch.exact import output_force
from pcbench.backends.torch.relaxation import (
    Batch,
    Progress,
    Relaxation,
    View,
    chosen,
    squared_norms,
)
from pcbench.contract import GaussNewtonInference, Inference

# Damping: where it starts once a step went wrong, and when it is none or all.
_FIRST, _NONE, _ALL = 0.1, 1e-3, 1e8
# What becomes of it, by the part of the promised decrease that a step brought: less than the first
# bound, more than the second, or untold because rounding hides it.
_POOR, _GOOD, _UNTOLD = 0.25, 0.75, 0.5
_RAISE, _REFUSE, _LOWER = 2.0, 4.0, 1 / 3
# Roundings that a rise of the energy is put down to, of the size of what is summed.
_ROUNDINGS = 4.0


def infer_by_gauss_newton(
    relaxation: Relaxation, settings: GaussNewtonInference
) -> Inference[Tensor]:
    """Iterate until every sample has reached the residual, or the budget is spent.

    A sample that has arrived is left alone. Near an equilibrium energies differ by the square of a
    step, and by less than their rounding long before forces do: there a step is taken that calms
    the forces. A sample whose damping has grown beyond all bounds stays where it is: no step that
    rounding can tell from none leads further.
    """
    view = relaxation.feedforward()
    slopes, energy = view.slopes(), view.sample_energies()
    progress = Progress(view, settings.residual, record=settings.record, by_sample=True)
    progress.passes += 1
    damping = torch.zeros_like(energy)
    while not progress.ended and progress.step < settings.max_steps:
        fresh = progress.step % settings.reuse == 0
        if fresh:
            linearised = LinearisedNetwork.at(view)
            target, promised = linearised.minimum(damping)
        else:
            target, promised = linearised.correction(view, energy, damping)
        trial = relaxation.roll_out(target)
        trial_slopes, tried, noise = trial.slopes(), trial.sample_energies(), _noise(trial)
        calmer = squared_norms(trial_slopes, like=view.errors[-1]) < progress.squares
        taken = ((tried <= energy) | (calmer & (tried <= energy + noise))) & ~progress.over
        gain = (energy - tried) / (energy - promised)
        gain = torch.where(energy - promised > noise, gain, _UNTOLD)
        damping = _damp(damping, taken, gain, fresh)
        if not bool(taken.all()):
            progress.passes += 1
            trial = relaxation.roll_out(chosen(taken, trial.errors[:-1], view.errors[:-1]))
            trial_slopes = chosen(taken, trial_slopes, slopes)
        view, slopes, energy = trial, trial_slopes, torch.where(taken, tried, energy)
        progress.step += 1
        progress.passes += relaxation.y.shape[-1] + 3 if fresh else 5
        progress.meet(view, slopes)
        progress.over |= damping > _ALL
    return progress.close(view)


def _noise(view: View) -> Float[Tensor, "*#R N"]:
    """What rounding may make of the energies of samples: of sums, and of ``y - ŷ``."""
    norm = partial(torch.linalg.vector_norm, dim=-1)
    output, force = view.errors[-1], view.forces[-1]
    size = view.sample_energies() + norm(force) * (norm(view.relaxation.y) + norm(output))
    noise: Tensor = _ROUNDINGS * torch.finfo(output.dtype).eps * size
    return noise


def _damp(damping: Tensor, taken: Tensor, gain: Tensor, fresh: bool) -> Float[Tensor, "*#R N"]:
    """Raise the damping where the linearised network promised too much, and lower it else.

    A step that was merely accepted is no reason to lower it: the next one would overshoot again.
    A linearisation that is no longer fresh may fail for that reason alone, and raises nothing.
    """
    if not fresh:
        return damping
    factor = torch.where(gain > _GOOD, _LOWER, torch.where(gain < _POOR, _RAISE, 1.0))
    factor = torch.where(taken, factor, _REFUSE)
    raised = torch.clamp(damping * factor, min=_FIRST)
    damping = torch.where(factor > 1, raised, damping * factor)
    return torch.where(damping < _NONE, 0.0, damping)


@dataclass(frozen=True, slots=True)
class LinearisedNetwork:
    """The least-squares problem of every sample, linearised.

    ``through`` is ``T = Σ_{l<L} K_l K_lᵀ``, ``carried`` is ``Σ_{l<L} K_l e_l``.
    """

    view: View
    through: Float[Tensor, "*#R N d_L d_L"]
    carried: Float[Tensor, "*#R N d_L"]

    @classmethod
    def at(cls, view: View) -> LinearisedNetwork:
        """Sweep down from the output, ``d_L`` vectors a sample."""
        output = view.errors[-1]
        reach = torch.eye(output.shape[-1], dtype=output.dtype, device=output.device)
        reach = reach.expand(*output.shape, output.shape[-1])
        through, carried = torch.zeros_like(reach), torch.zeros_like(output)
        for tangent, error in zip(view.tangents[:0:-1], view.errors[-2::-1], strict=True):
            reach = tangent.pull(reach)  # K_l, a row for every output
            through = through + reach @ reach.mT
            carried = carried + (reach @ error.unsqueeze(-1)).squeeze(-1)
        return cls(view, through, carried)

    def minimum(
        self, damping: Float[Tensor, "*#R N"]
    ) -> tuple[list[Batch], Float[Tensor, "*#R N"]]:
        """Return the hidden errors at the damped minimum, and the energy that they promise."""
        view, theta = self.view, (1 / (1 + damping)).unsqueeze(-1)
        force = self._force(view.errors[-1] + theta * self.carried, theta)
        target = [
            error + theta * (pulled - error)
            for error, pulled in zip(view.errors[:-1], backpropagated(view, force), strict=True)
        ]
        reached = (self.through @ force.unsqueeze(-1)).squeeze(-1)
        output = view.errors[-1] + theta * (self.carried - reached)
        promised = (output * view.relaxation.weigh(output)).sum(-1)
        for error in target:
            promised = promised + error.square().sum(-1)
        return target, promised / 2

    def correction(
        self, view: View, energy: Float[Tensor, "*#R N"], damping: Float[Tensor, "*#R N"]
    ) -> tuple[list[Batch], Float[Tensor, "*#R N"]]:
        """Step on from another view: its gradient, with the curvature that is known from here."""
        theta = (1 / (1 + damping)).unsqueeze(-1)
        gradients = [
            error - pulled
            for error, pulled in zip(view.errors[:-1], backpropagated(view), strict=True)
        ]
        carried = torch.zeros_like(gradients[0])
        for tangent, gradient in zip(self.view.tangents[1:], gradients, strict=True):
            carried = tangent.push(carried + gradient)
        pulled = backpropagated(self.view, self._force(carried, theta))
        target, downhill, length = [], torch.zeros_like(energy), torch.zeros_like(energy)
        for error, gradient, back in zip(view.errors[:-1], gradients, pulled, strict=True):
            step = theta * (theta * back - gradient)
            target.append(error + step)
            downhill = downhill + (gradient * step).sum(-1)
            length = length + step.square().sum(-1)
        return target, energy + (downhill - damping * length) / 2

    def _force(
        self, right: Float[Tensor, "*#R N d_L"], theta: Float[Tensor, "*#R N 1"]
    ) -> Float[Tensor, "*#R N d_L"]:
        """``P (I + θ P T P)⁻¹ P`` times every row."""
        through = theta.unsqueeze(-1) * self.through
        return output_force(through, right, self.view.relaxation.precision)
