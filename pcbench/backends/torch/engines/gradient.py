"""Inference by gradient descent on the energy, as predictive coding is usually run."""

from __future__ import annotations

import torch
from torch import Tensor

from pcbench.backends.base import Inference
from pcbench.backends.inference import GradientInference
from pcbench.backends.torch.engines.relaxation import Progress, Relaxation


def infer_by_gradient(relaxation: Relaxation, settings: GradientInference) -> Inference[Tensor]:
    """Descend from the feedforward activities until the residual is reached or the budget is spent.

    ``z_l ← z_l - step · ∂(N𝓕)/∂z_l`` for all hidden layers at once. A residual that is not finite
    ends it too: the step was beyond ``2/λ_max(H_z)``.
    """
    view = relaxation.feedforward()
    slopes = view.slopes()
    progress = Progress(view, settings.residual, record=settings.record)
    progress.passes += 1
    schedule = _Schedule(settings, view.energies().sum(-1)) if settings.halve else None
    while not progress.ended and progress.step < settings.max_steps:
        step: float | Tensor = settings.step if schedule is None else schedule.step
        hidden = [z - step * slope for z, slope in zip(view.activities[1:], slopes, strict=True)]
        view = relaxation.at(hidden)
        slopes = view.slopes()
        progress.step += 1
        progress.passes += 2
        progress.meet(view, slopes)
        if schedule is not None:
            progress.ended |= schedule.exhausted(view.energies().sum(-1))
    return progress.close(view)


class _Schedule:
    """Halves the step of a replica whose energy rose."""

    def __init__(self, settings: GradientInference, energy: Tensor) -> None:
        self._smallest, self._energy = settings.smallest_step, energy
        self.step = torch.full_like(energy, settings.step)[..., None, None]

    def exhausted(self, energy: Tensor) -> bool:
        """Take note of the energy; return whether the largest step has come to the smallest."""
        rose = energy > self._energy
        self._energy = energy
        self.step = torch.where(rose[..., None, None], self.step / 2, self.step)
        return float(self.step.max()) <= self._smallest
