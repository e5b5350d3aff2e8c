"""How hidden activities are relaxed: in closed form, by descent on the energy, by Gauss-Newton."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.integrate import RK23, RK45

from pcbench.backends.numpy.layers import Batch, Layer
from pcbench.backends.numpy.state import (
    Clamped,
    State,
    by_layer,
    each_sample,
    gauss_newton_curvature,
    side_by_side,
)
from pcbench.contract.inference import (
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
    IterativeInference,
    OdeInference,
)
from pcbench.contract.model import BackendUnavailableError, Inference


class Account:
    """Follows a batch from state to state: steps, passes, and its residual relative to the start.

    The feedforward activities cost two passes: forward, and back to their slopes.
    """

    def __init__(self, start: State, settings: IterativeInference) -> None:
        self._settings = settings
        self._starts = slope_norms(start)
        self.steps, self.passes = 0, 2.0
        self._path: list[Float[np.ndarray, " L"]] = []
        self._note(start)

    def step(self, state: State, passes: float) -> None:
        """Take note of where a step led, and what it cost."""
        self.steps += 1
        self.passes += passes
        self._note(state)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do, or to be had: arrived, diverged, or out of steps."""
        going = self._settings.residual < self.residual < np.inf  # NaN is not going anywhere
        return not going or self.steps >= self._settings.max_steps

    def close(self, state: State) -> Inference[Batch]:
        """Return where inference ended."""
        return ended(
            state,
            self._starts,
            self._settings.residual,
            steps=self.steps,
            passes=self.passes,
            path=np.stack(self._path) if self._settings.record else None,
        )

    def _note(self, state: State) -> None:
        self._norms = slope_norms(state)
        self.residual = whole(self._norms, self._starts)
        if self._settings.record:
            self._path.append(state.energies())


def ended(
    state: State,
    starts: Float[np.ndarray, " N"],
    asked: float,
    *,
    steps: int = 0,
    passes: float | None = None,
    path: Float[np.ndarray, "steps L"] | None = None,
    by_sample: bool = False,
) -> Inference[Batch]:
    """Say of a state how far inference has come.

    ``starts`` are ``‖∂(N𝓕)/∂z‖`` of each sample at the feedforward activities; ``asked`` is the
    residual that every sample, or all together, have to reach, infinity for any that is a number.
    """
    norms, energies = slope_norms(state), state.energies()
    residuals, residual = relative(norms, starts), whole(norms, starts)
    reached = residuals if by_sample else np.asarray(residual)
    arrived = (reached <= asked).all() and np.isfinite(residual) and np.isfinite(energies).all()
    return Inference(
        activities=state.ending(),
        energies=energies,
        steps=steps,
        residual=np.asarray(residual),
        converged=bool(arrived),
        passes=passes,
        sample_residuals=residuals,
        path=path,
    )


def slope_norms(state: State) -> Float[np.ndarray, " N"]:
    """``‖∂(N𝓕)/∂z‖`` over the hidden activities of each sample."""
    slopes = side_by_side(state.slopes(), like=state.clamped.x)
    norms: Float[np.ndarray, " N"] = np.linalg.norm(slopes, axis=1)
    return norms


def relative(
    norms: Float[np.ndarray, " N"], starts: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Residual of each sample; absolute where it was zero at the start."""
    return norms / np.where(starts > 0, starts, 1.0)


def whole(norms: Float[np.ndarray, " N"], starts: Float[np.ndarray, " N"]) -> float:
    """Residual of all samples together; absolute where it was zero at the start."""
    start = float(np.linalg.norm(starts))
    return float(np.linalg.norm(norms)) / (start if start > 0 else 1.0)


def infer_exactly(clamped: Clamped) -> Inference[Batch]:
    """Find the equilibrium of a network of affine layers, by one linear system.

    ``N𝓕`` is quadratic in the hidden activities. From any activities ``z``, the feedforward ones
    say, ``H_z δz = -∂(N𝓕)/∂z`` leads to its minimum. What a direct solution leaves is solved for
    once more, with the same factors, as usual: rounding then stays near that of evaluating the
    slopes (Higham 2002, chapter 12).
    """
    refuse_bent_layers(clamped.layers)
    start = state = clamped.feedforward()
    starts = slope_norms(start)
    if start.hidden:
        solve = each_sample(start, lambda at, n: gauss_newton_curvature(at, n).cholesky())
        for _ in ("the solution", "its refinement"):
            slopes = side_by_side(state.slopes(), like=clamped.x)
            state = state.moved(by_layer(-solve(slopes), state.hidden))
    return ended(state, starts, np.inf)


def refuse_bent_layers(layers: Sequence[Layer]) -> None:
    """Refuse a network whose equilibrium is not the solution of a linear system."""
    if not all(layer.is_affine for layer in layers):
        raise BackendUnavailableError(
            "engine: exact solves networks without activations and pooling; use engine: "
            "gauss_newton here"
        )


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


def infer_by_errors(clamped: Clamped, settings: ErrorInference) -> Inference[Batch]:
    """``e ← e - step · ∂(N𝓕)/∂e`` (Goemaere et al. 2025, arXiv:2505.20137)."""
    state = clamped.feedforward()
    account = Account(state, settings)
    while not account.over:
        slopes = error_slopes(state)
        state = clamped.roll_out(
            [e - settings.step * slope for e, slope in zip(state.errors[:-1], slopes, strict=True)]
        )
        account.step(state, passes=3.0)  # forward, back in the errors, back in the activities
    return account.close(state)


def error_slopes(state: State) -> list[Batch]:
    """``∂(N𝓕)/∂e_l = e_l - λ_l``, where an error moves all layers above it.

    ``z_l = f_l(z_{l-1}) + e_l``, so ``∂ŷ/∂e_l = J_L ⋯ J_{l+1}``: ``λ_l = J_{l+1}ᵀ λ_{l+1}``, from
    ``λ_L = Π e_L``, is what the output's force comes to there.
    """
    pulled, slopes = state.forces[-1], []
    for layer, error in zip(state.evaluated[:0:-1], state.errors[-2::-1], strict=True):
        pulled = layer.pull(pulled)
        slopes.append(error - pulled)
    return slopes[::-1]


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


# Damping μ, in units of the curvature of a unit without connections: where it begins once a step
# was refused, below which it is none, and beyond which no step is told from none.
_FIRST, _NONE, _ALL = 0.1, 1e-3, 1e8
# What becomes of it after a step that was refused, one that brought less than a quarter of the
# decrease promised, and one that brought more than three quarters (Nocedal & Wright 2006, 4.1).
_REFUSED, _POOR, _GOOD = 4.0, 2.0, 1 / 3
# Roundings that a rise of the energy is put down to.
_ROUNDINGS = 4.0


def infer_by_gauss_newton(clamped: Clamped, settings: GaussNewtonInference) -> Inference[Batch]:
    """Relax every sample by itself, until it has arrived or the budget is spent (Levenberg 1944).

    The errors are linearised at the activities, ``e(z + δz) ≈ e + B δz``, and

    .. math:: (BᵀΠB + μ I) δz = - Bᵀ Π e = - ∂(N𝓕)/∂z

    is solved directly. That is another road than Gauss-Newton in the errors: each layer starts from
    the activities that it has, and errors below do not move it. Where it ends is the same.
    """
    start = clamped.feedforward()
    descents = [_descend(clamped.sample(n), settings) for n in range(len(clamped.x))]
    ends = [start.hidden, *(state.hidden for state, _ in descents)]
    state = clamped.at(
        [np.concatenate(layer)[len(clamped.x) :] for layer in zip(*ends, strict=True)]
    )
    paths = [np.stack(path) for _, path in descents]
    steps = max((len(path) - 1 for path in paths), default=0)
    path = state.energies()[None]
    if paths:  # the average over the samples; an ended one stays where it is
        path = np.mean([lengthened(path, steps) for path in paths], axis=0)
    return ended(
        state,
        slope_norms(start),
        settings.residual,
        steps=steps,
        path=path if settings.record else None,
        by_sample=True,
    )


def lengthened(path: Float[np.ndarray, "T L"], steps: int) -> Float[np.ndarray, "steps_and_one L"]:
    """Let a path that has ended stay where it is."""
    return path[np.minimum(np.arange(steps + 1), len(path) - 1)]


def _descend(
    clamped: Clamped, settings: GaussNewtonInference
) -> tuple[State, list[Float[np.ndarray, " L"]]]:
    """Step down with one sample; every linearisation serves several steps, or until it misleads.

    Returns where it ends, and the energies at the start and after every step that was tried, the
    refused ones included.
    """
    state = clamped.feedforward()
    start, damping, left, path = slope_norms(state), 0.0, 0, [state.energies()]
    while damping <= _ALL and len(path) <= settings.max_steps:
        if not settings.residual < relative(slope_norms(state), start)[0] < np.inf:
            break
        fresh = not left
        if fresh:
            damped_by, left = damping, settings.reuse
            solve = gauss_newton_curvature(state, 0).cholesky(damping)
        slopes = side_by_side(state.slopes(), like=clamped.x)
        moves = -solve(slopes)
        trial = state.moved(by_layer(moves, state.hidden))
        promised = float(np.sum(moves * (damped_by * moves - slopes))) / 2
        energy, tried = (float(at.energies().sum()) for at in (state, trial))
        noise = _noise(trial)
        calmer = bool(slope_norms(trial) < slope_norms(state))
        taken = tried <= energy or (calmer and tried <= energy + noise)
        if fresh:  # of an older one, nothing is promised
            brought = energy - tried if promised > noise else promised / 2  # rounding hides it
            damping = _damped(damping, taken, brought, promised)
        state = trial if taken else state
        left = left - 1 if taken else 0
        path.append(state.energies())
    return state, path


def _damped(damping: float, taken: bool, brought: float, promised: float) -> float:
    """Raise the damping where the linearised energy promised too much, and lower it else."""
    if not taken:
        return max(_REFUSED * damping, _FIRST)
    if brought < promised / 4:
        return max(_POOR * damping, _FIRST)
    lowered = damping * (_GOOD if brought > promised * 3 / 4 else 1.0)
    return lowered if lowered >= _NONE else 0.0


def _noise(state: State) -> float:
    """What rounding ``z_l - f_l(z_{l-1})`` may make of the energy, to first order."""
    above = [*state.hidden, state.clamped.y]
    sizes = [
        np.sum(np.abs(force) * (np.abs(z) + np.abs(layer.value)))
        for force, z, layer in zip(state.forces, above, state.evaluated, strict=True)
    ]
    return _ROUNDINGS * float(np.finfo(float).eps) * float(sum(sizes))
