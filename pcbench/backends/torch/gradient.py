"""Inference by gradient descent on the energy, as predictive coding is usually run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.base import Inference
from pcbench.backends.inference import GradientInference


def infer_by_gradient(
    weights: Sequence[Float[Tensor, "*#replica _out _inp"]],
    x: Float[Tensor, "*#replica N d_0"],
    y: Float[Tensor, "*#replica N d_L"],
    settings: GradientInference,
) -> Inference[Tensor]:
    """Descend from the feedforward activities until the residual is reached or the budget is spent.

    ``z_l ← z_l - step · (e_l - e_{l+1} W_{l+1})`` for all hidden layers at once. A residual that
    is not finite ends it too: the step was beyond ``2/λ_max(H_z)``.
    """
    activities = [x]
    for weight in weights[:-1]:
        activities.append(activities[-1] @ weight.mT)
    activities.append(y)

    start = None
    for step in range(settings.max_steps + 1):
        errors = [
            above - below @ weight.mT
            for weight, (below, above) in zip(weights, pairwise(activities), strict=True)
        ]
        slopes = [
            error - after @ weight
            for weight, (error, after) in zip(weights[1:], pairwise(errors), strict=True)
        ]
        norm = _norm(slopes, like=errors[-1])
        start = norm if start is None else start
        residual = torch.where(start > 0, norm / start, norm)
        largest = float(residual.max())  # the one copy to the host of a step; NaN stays NaN
        reached = largest <= settings.residual
        if reached or step == settings.max_steps or not isfinite(largest):
            break
        for hidden, slope in enumerate(slopes, start=1):
            activities[hidden] = torch.add(activities[hidden], slope, alpha=-settings.step)

    energies = torch.stack([e.square().sum(dim=(-2, -1)) for e in errors], dim=-1)
    return Inference(activities, energies / (2 * y.shape[-2]), step, residual, converged=reached)


def _norm(slopes: Sequence[Tensor], like: Tensor) -> Float[Tensor, "*#replica"]:
    """``‖∂(N𝓕)/∂z‖`` over all hidden activities of all samples, a replica each."""
    squares = torch.zeros(like.shape[:-2], dtype=like.dtype, device=like.device)
    for slope in slopes:
        squares = squares + slope.square().sum(dim=(-2, -1))
    return squares.sqrt()
