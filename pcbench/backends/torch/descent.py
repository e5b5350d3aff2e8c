"""Inference by descent on the energy: in the activities, in the errors, and along the flow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.relaxation import Batch, Progress, Relaxation, View, squared_norms
from pcbench.contract.inference import ErrorInference, GradientInference, OdeInference
from pcbench.contract.model import BackendUnavailableError, Inference


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
    step: float | Tensor = settings.step
    if settings.halve:
        energy = view.energies().sum(-1)
        step = torch.full_like(energy, settings.step)[..., None, None]
    while not progress.ended and progress.step < settings.max_steps:
        hidden = [z - step * slope for z, slope in zip(view.activities[1:], slopes, strict=True)]
        view = relaxation.at(progress.hold(hidden, view.activities[1:]))
        slopes = view.slopes()
        progress.step += 1
        progress.passes += 2
        progress.meet(view, slopes)
        if isinstance(step, Tensor):
            before, energy = energy, view.energies().sum(-1)
            step = torch.where((energy > before)[..., None, None], step / 2, step)
            progress.over |= step[..., 0, 0] <= settings.smallest_step
    return progress.close(view)


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


# What a step may be off by makes at most this part of the force that is asked for in the end.
_PART = 0.1
# Multiplications by the Hessian to find the steepest curvature, of which the order matters.
_ITERATIONS = 5


class _EndError(Exception):
    """Leaves a solver that would go on: it looks at nothing but the time."""


def infer_by_ode(relaxation: Relaxation, settings: OdeInference) -> Inference[Tensor]:
    """Follow ``dz/dt = -∂(N𝓕)/∂z`` until the residual is reached or a budget is spent.

    The residual is looked at after every step that the solver accepts. One step size serves all
    samples and replicas: that of the one which needs the shortest, so that each is as exact as it
    is alone. All move on until the last replica has arrived. An absolute tolerance below the
    rounding of activities, the dtype's ``eps`` times the largest rms of a sample's layer in the
    replica, costs steps and gains nothing: it is taken for that rounding. Where the solver would go
    on with a step that is lost in the rounding of the time, or with numbers that are not finite,
    inference ends, unfinished.
    """
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise BackendUnavailableError(
            "engine: ode needs torchdiffeq; install pcbench with its extra 'ode'"
        ) from error

    flow = _Flow(relaxation, settings)
    if not flow.progress.ended:
        x = relaxation.x
        try:
            ends = odeint(
                flow,
                tuple(flow.view.activities[1:]),
                torch.tensor([0.0, settings.max_time], dtype=x.dtype, device=x.device),
                method=settings.method,
                rtol=settings.rtol,
                atol=flow.tolerances(settings),
                # By default times are kept in float64, which not every device knows.
                options={"dtype": x.dtype, "norm": _largest_rms},
            )
            flow.arrive([path[-1] for path in ends])
        except _EndError:
            pass
    return flow.progress.close(flow.view)


class _Flow:
    """The flow, with an eye on the steps along it.

    torchdiffeq announces every step that it tries, from where it stands (``callback_step``), and
    tells when it has accepted it (``callback_accept_step``). The view is where the last accepted
    step ended.
    """

    def __init__(self, relaxation: Relaxation, settings: OdeInference) -> None:
        self._relaxation, self._max_steps = relaxation, settings.max_steps
        self.view = self._latest = relaxation.feedforward()
        self._slopes = self.view.slopes()
        self.progress = Progress(self.view, settings.residual, record=settings.record)
        self.progress.passes += 1
        self._tried, self._accepted = 0, False

    def __call__(self, _: Tensor, hidden: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """``dz/dt``."""
        self._look(hidden)
        return tuple(-slope for slope in self._slopes)

    def callback_accept_step(self, time: Tensor, hidden: tuple[Tensor, ...], step: Tensor) -> None:
        """Take note that the step from here was accepted; where it ended is not told yet."""
        self._accepted = True

    def callback_step(self, time: Tensor, hidden: tuple[Tensor, ...], step: Tensor) -> None:
        """Look at the step that was accepted, if one was, and let the next be tried, or not."""
        if self._accepted:
            self.arrive(hidden)
        # A step that leaves the time as it is would fail an assertion of torchdiffeq.
        lost = not bool(time + step > time)
        if self.progress.ended or lost or self._tried == self._max_steps:
            raise _EndError
        self._tried += 1

    def arrive(self, hidden: Sequence[Batch]) -> None:
        """Take note of where an accepted step ended."""
        self._accepted = False
        self._look(hidden)
        self.view = self._latest
        self.progress.step += 1
        self.progress.meet(self.view, self._slopes)

    def tolerances(self, settings: OdeInference) -> tuple[Tensor, ...]:
        """Return an absolute tolerance of every activity, the same within a replica.

        Where none is asked for it leaves the residual within reach: near equilibrium an explicit
        method takes the longest steps that are stable, and leaves activities to move about by what
        a step may be off by. Times the steepest curvature that is a force, and must be less than
        the one asked for. Less than the rounding of activities is asked of no step, none would be
        accepted.
        """
        hidden, squares = self.view.activities[1:], self.progress.squares.sum(-1)
        layers = [z.square().mean(-1).amax(-1) for z in (*hidden, self._relaxation.y)]
        rounding = torch.finfo(squares.dtype).eps * reduce(torch.maximum, layers).sqrt()
        wanted = torch.as_tensor(settings.atol or 0.0).to(squares)
        if not settings.atol:
            units = sum(z.shape[-2] * z.shape[-1] for z in hidden)
            rms = (squares / units).sqrt()
            wanted = settings.residual * _PART * rms / self._steepest()
            wanted = torch.where(squares > 0, wanted, wanted[squares > 0].min())
        own = torch.maximum(wanted, rounding)[..., None, None]
        return tuple(own.expand_as(z).reshape(-1) for z in hidden)

    def _steepest(self) -> Float[Tensor, "*#R"]:
        """Estimate the largest curvature of every replica by power iteration, from below."""
        moves, curvature = self._slopes, self.progress.squares.sum(-1).sqrt()
        for _ in range(_ITERATIONS):
            moves = self.view.curve([move / curvature[..., None, None] for move in moves])
            curvature = squared_norms(moves, like=self.view.errors[-1]).sum(-1).sqrt()
        self.progress.passes += 2 * _ITERATIONS
        return curvature

    def _look(self, hidden: Sequence[Batch]) -> None:
        """Evaluate the flow, but where it was evaluated last.

        Most methods end a step with an evaluation at its end (FSAL), and start with the first one.
        """
        if all(map(torch.equal, hidden, self._latest.activities[1:])):
            return
        self._latest = self._relaxation.at(hidden)
        self._slopes = self._latest.slopes()
        self.progress.passes += 2


def _largest_rms(layers: Sequence[Batch]) -> Float[Tensor, ""]:
    """Root mean square of a layer in a sample of a replica, the largest of all, not their mean."""
    return torch.stack([layer.square().mean(-1).max() for layer in layers]).max().sqrt()
