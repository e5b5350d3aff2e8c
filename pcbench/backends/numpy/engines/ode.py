"""The gradient flow of the energy, by SciPy's Runge-Kutta methods."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.integrate import RK23, RK45

from pcbench.backends.numpy.engines.account import Account, slope_norms
from pcbench.backends.numpy.maps import Batch
from pcbench.backends.numpy.state import Clamped, State, by_layer, side_by_side
from pcbench.contract.inference import OdeInference
from pcbench.contract.model import BackendUnavailableError, Inference

# Dormand & Prince 1980 and Bogacki & Shampine 1989, under SciPy's names, with the evaluations that
# every step takes that is tried.
_METHODS: dict[str, tuple[Any, int]] = {"dopri5": (RK45, 6), "bosh3": (RK23, 3)}
# Evaluations before the first: one at the start, and one to choose a first step.
_AHEAD = 2
# SciPy takes no relative tolerance below this, and warns.
_LEAST_RTOL = 100 * float(np.finfo(float).eps)
# What a step may be off by makes at most this part of the force that is asked for in the end.
_PART = 0.1


class _SpentError(Exception):
    """Leaves a step that goes on being refused."""


def infer_by_ode(clamped: Clamped, settings: OdeInference) -> Inference[Batch]:
    """Follow ``dz/dt = -∂(N𝓕)/∂z`` until the residual is reached or a budget is spent.

    The residual is looked at after every step that is accepted. One step size serves all samples.
    SciPy holds the rms over all of them against the tolerances, which are therefore divided by
    ``√N``: no sample is off by more than it is when it is alone. Tolerances below the rounding of
    activities are taken for that rounding, and relative ones below 100 ``eps`` for that.

    Raises
    ------
    BackendUnavailableError
        If SciPy does not have the method.
    """
    if settings.method not in _METHODS:
        raise BackendUnavailableError(
            f"SciPy, and so the numpy backend, has no method {settings.method}; use method: dopri5 "
            "or bosh3"
        )
    state = clamped.feedforward()
    account = Account(state, settings)
    if account.over:
        return account.close(state)
    method, stages = _METHODS[settings.method]
    shape, evaluations = side_by_side(state.hidden, like=clamped.x).shape, 0

    def at(z: Float[np.ndarray, " n"]) -> State:
        return clamped.at(by_layer(z.reshape(shape), state.hidden))

    def flow(_: float, z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        nonlocal evaluations
        if evaluations >= _AHEAD + stages * settings.max_steps:
            raise _SpentError
        evaluations += 1
        return -side_by_side(at(z).slopes(), like=clamped.x).ravel()

    share = np.sqrt(len(clamped.x))
    tolerance = settings.atol or _tolerance(state, settings.residual)
    try:
        solver = method(
            flow,
            0.0,
            side_by_side(state.hidden, like=clamped.x).ravel(),
            settings.max_time,
            rtol=max(settings.rtol / share, _LEAST_RTOL),
            atol=max(tolerance / share, _rounding(state)),
        )
        while solver.status == "running" and not account.over:
            before = evaluations
            solver.step()
            if solver.status == "failed":  # a step that the rounding of the time would swallow
                break
            state = at(solver.y)
            account.step(state, passes=2.0 * (evaluations - before))
    except _SpentError:
        pass
    return account.close(state)


def _tolerance(start: State, residual: float) -> float:
    """Return an absolute tolerance that leaves the residual within reach.

    Near equilibrium an explicit method takes the longest steps that are stable, and leaves
    activities to move about by what a step may be off by, its root mean square. Times the steepest
    curvature that is a force, and must be less than the one asked for.
    """
    hidden = side_by_side(start.hidden, like=start.clamped.x)
    norms = slope_norms(start)
    force = residual * float(np.linalg.norm(norms)) / np.sqrt(hidden.size)
    return float(_PART * force / _steepest(start))


def _rounding(start: State) -> float:
    """Return the rounding of activities: less is asked of no step, none would be accepted."""
    largest = max(np.abs(z).max(initial=0.0) for z in (*start.hidden, start.clamped.y))
    return float(np.finfo(float).eps * largest)


def _steepest(state: State) -> float:
    """Bound the Gauss-Newton curvature: ``‖BᵀΠB‖ ≤ max(1, Π) (1 + max_l ‖J_l‖)²``.

    ``‖A‖² ≤ ‖A‖₁ ‖A‖_∞``, sparse or not. No activation is taken to be less steep than SiLU, 1.1.
    """
    reach = 0.0
    for layer in state.evaluated[1:]:
        sizes, after = abs(layer.layer.affine.matrix), layer.layer.after
        slope = max(1.1, layer.layer.before.steepest, after.steepest)
        reach = max(reach, slope * float(np.sqrt(sizes.sum(0).max() * sizes.sum(1).max())))
    return float(max(1.0, state.clamped.precision.max())) * (1 + reach) ** 2
