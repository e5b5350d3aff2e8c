"""Inference by gradient descent on the energy, as predictive coding is usually run."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pcbench.backends.torch.engines.relaxation import Progress, Relaxation
from pcbench.contract.inference import GradientInference
from pcbench.contract.model import Inference


def infer_by_gradient(relaxation: Relaxation, settings: GradientInference) -> Inference[Tensor]:
    """Descend from the feedforward activities until the residual is reached or the budget is spent.

    ``z_l ← z_l - step · ∂(N𝓕)/∂z_l`` for all hidden layers at once. A residual that is not finite
    ends it too: the step was beyond ``2/λ_max(H_z)``. Replicas have steps of their own where these
    are halved, and each stays where it would end alone.
    """
    view = relaxation.feedforward()
    slopes = view.slopes()
    progress = Progress(view, settings.residual, record=settings.record)
    progress.passes += 1
    schedule = _Schedule(settings, view.energies().sum(-1)) if settings.halve else None
    while not progress.ended and progress.step < settings.max_steps:
        step = settings.step if schedule is None else schedule.step[..., None, None]
        hidden = [z - step * slope for z, slope in zip(view.activities[1:], slopes, strict=True)]
        view = relaxation.at(progress.hold(hidden, view.activities[1:]))
        slopes = view.slopes()
        progress.step += 1
        progress.passes += 2
        progress.meet(view, slopes)
        if schedule is not None:
            progress.over |= schedule.spent(view.energies().sum(-1))
    return progress.close(view)


class _Schedule:
    """Halves the step of a replica whose energy rose."""

    def __init__(self, settings: GradientInference, energy: Float[Tensor, "*#R"]) -> None:
        self._smallest, self._energy = settings.smallest_step, energy
        self.step = torch.full_like(energy, settings.step)

    def spent(self, energy: Float[Tensor, "*#R"]) -> Bool[Tensor, "*#R"]:
        """Take note of the energies; return which replicas have come to the smallest step."""
        rose = energy > self._energy
        self._energy = energy
        self.step = torch.where(rose, self.step / 2, self.step)
        return self.step <= self._smallest
