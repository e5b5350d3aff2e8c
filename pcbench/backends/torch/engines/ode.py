"""Inference by the gradient flow of the energy, with torchdiffeq's adaptive solvers."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from pcbench.backends.base import BackendUnavailableError, Inference
from pcbench.backends.inference import OdeInference
from pcbench.backends.torch.engines.relaxation import Progress, Relaxation

# The residual is looked at here, and then at every doubling of the time.
_FIRST_LOOK = 1.0


class _BudgetSpentError(Exception):
    """Ends a solver that would go on."""


def infer_by_ode(relaxation: Relaxation, settings: OdeInference) -> Inference[Tensor]:
    """Follow ``dz/dt = -∂(N𝓕)/∂z`` until the residual is reached or a budget is spent.

    One step size serves all samples and replicas. Steps are evaluations of the flow; where their
    budget ends between two looks at the residual, the earlier look is what is returned.

    Raises
    ------
    BackendUnavailableError
        If torchdiffeq is not installed.
    """
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise BackendUnavailableError(
            "engine: ode needs torchdiffeq; install pcbench with its extra 'ode'"
        ) from error

    view = relaxation.feedforward()
    progress = Progress(view, settings.residual, record=settings.record)
    progress.passes += 1

    def flow(_: Tensor, hidden: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if progress.step == settings.max_steps:
            raise _BudgetSpentError
        progress.step += 1
        progress.passes += 2
        return tuple(-slope for slope in relaxation.at(hidden).slopes())

    times = [0.0, min(_FIRST_LOOK, settings.max_time)]
    while times[-1] < settings.max_time:
        times.append(min(2 * times[-1], settings.max_time))
    for span in pairwise(times):
        if progress.ended:
            break
        try:
            ends = odeint(
                flow,
                tuple(view.activities[1:]),
                torch.tensor(
                    span, dtype=view.activities[0].dtype, device=view.activities[0].device
                ),
                method=settings.method,
                rtol=settings.rtol,
                atol=settings.atol,
            )
        except _BudgetSpentError:
            break
        view = relaxation.at([path[-1] for path in ends])
        progress.passes += 2
        progress.meet(view, view.slopes())
    return progress.close(view)
