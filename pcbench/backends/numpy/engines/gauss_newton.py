"""Gauss-Newton in the hidden activities, damped, sample by sample (Levenberg 1944).

The errors are linearised at the activities, ``e(z + δz) ≈ e + B δz``, and

.. math:: (BᵀΠB + μ I) δz = - Bᵀ Π e = - ∂(N𝓕)/∂z

is solved directly. That is another road than Gauss-Newton in the errors: each layer starts from the
activities that it has, and errors below do not move it. Where it ends is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from pcbench.backends.numpy.curvature import BlockTridiagonal, gauss_newton_curvature
from pcbench.backends.numpy.engines.account import ended, relative, slope_norms
from pcbench.backends.numpy.maps import Batch
from pcbench.backends.numpy.state import Clamped, State, by_layer, side_by_side
from pcbench.contract.inference import GaussNewtonInference
from pcbench.contract.model import Inference

# Damping μ, in units of the curvature of a unit without connections: where it begins once a step
# was refused, below which it is none, and beyond which no step is told from none.
_FIRST, _NONE, _ALL = 0.1, 1e-3, 1e8
# What becomes of it after a step that was refused, one that brought less than a quarter of the
# decrease promised, and one that brought more than three quarters (Nocedal & Wright 2006, 4.1).
_REFUSED, _POOR, _GOOD = 4.0, 2.0, 1 / 3
# Roundings that a rise of the energy is put down to.
_ROUNDINGS = 4.0


def infer_by_gauss_newton(clamped: Clamped, settings: GaussNewtonInference) -> Inference[Batch]:
    """Relax every sample by itself, until it has arrived or the budget is spent."""
    start = clamped.feedforward()
    descents = [_Descent(clamped.sample(n), settings) for n in range(len(clamped.x))]
    for descent in descents:
        descent.run()
    ends = [start.hidden, *(descent.state.hidden for descent in descents)]
    state = clamped.at(
        [np.concatenate(layer)[len(clamped.x) :] for layer in zip(*ends, strict=True)]
    )
    steps = max((descent.steps for descent in descents), default=0)
    path = _path(descents, steps) if descents else state.energies()[None]
    return ended(
        state,
        slope_norms(start),
        settings.residual,
        steps=steps,
        path=path if settings.record else None,
        by_sample=True,
    )


@dataclass(slots=True)
class _Descent:
    """A sample on its way down.

    Attributes
    ----------
    clamped
        A batch of that sample alone.
    settings
        When to stop.
    state
        Where it is.
    steps
        Tried, the refused ones included.
    path
        Energies of all layers after each of them.
    """

    clamped: Clamped
    settings: GaussNewtonInference
    state: State = field(init=False)
    steps: int = field(init=False, default=0)
    path: list[Float[np.ndarray, " L"]] = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.clamped.feedforward()
        self.path = [self.state.energies()]

    def run(self) -> None:
        """Step down; every linearisation serves several steps, or until it misleads."""
        start, damping, left = slope_norms(self.state), 0.0, 0
        while self._going(start) and damping <= _ALL:
            fresh = not left
            if fresh:
                linearised, left = _Linearised(self.state, damping), self.settings.reuse
            trial, promised = linearised.step_from(self.state)
            energy, tried = (float(state.energies().sum()) for state in (self.state, trial))
            noise = _noise(trial)
            calmer = bool(slope_norms(trial) < slope_norms(self.state))
            taken = tried <= energy or (calmer and tried <= energy + noise)
            if fresh:  # of an older one, nothing is promised
                brought = energy - tried if promised > noise else promised / 2  # rounding hides it
                damping = _damped(damping, taken, brought, promised)
            self.state = trial if taken else self.state
            left = left - 1 if taken else 0
            self.steps += 1
            self.path.append(self.state.energies())

    def _going(self, start: Float[np.ndarray, " 1"]) -> bool:
        residual = float(relative(slope_norms(self.state), start)[0])
        return self.settings.residual < residual < np.inf and self.steps < self.settings.max_steps


class _Linearised:
    """A sample's errors, linearised, and the factors of its damped curvature."""

    def __init__(self, state: State, damping: float) -> None:
        curvature: BlockTridiagonal = gauss_newton_curvature(state, 0)
        self._damping, self._solve = damping, curvature.cholesky(damping)

    def step_from(self, state: State) -> tuple[State, float]:
        """Return where the minimum of the linearised energy is, and how much lower it promises."""
        slopes = side_by_side(state.slopes(), like=state.clamped.x)
        moves = -self._solve(slopes)
        promised = float(np.sum(moves * (self._damping * moves - slopes))) / 2
        return state.moved(by_layer(moves, state.hidden)), promised


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


def _path(descents: list[_Descent], steps: int) -> Float[np.ndarray, "_steps L"]:
    """Average over the samples, of which there is one at least; an ended one stays where it is."""
    paths = [np.stack(descent.path) for descent in descents]
    kept = [np.minimum(np.arange(steps + 1), len(path) - 1) for path in paths]
    mean: Float[np.ndarray, "_steps L"] = np.mean(
        [path[rows] for path, rows in zip(paths, kept, strict=True)], axis=0
    )
    return mean
