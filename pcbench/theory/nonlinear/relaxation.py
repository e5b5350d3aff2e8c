r"""An equilibrium of any smooth network, found without a backend (§3).

The energy of a sample is descended by Newton's method in its hidden activities, with the exact
Hessian ``H``. Where that is not positive definite, its eigenvalues are taken by size, which still
leads down; a step is halved until it goes down by a part of what its slope promises (Armijo). What
is found is a minimum near the feedforward activities, not necessarily the lowest one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Inputs, Targets
from pcbench.theory.nonlinear.curvature import hessian_rows
from pcbench.theory.nonlinear.layered import (
    Batch,
    Layered,
    Precision,
    activity_residuals,
    feedforward,
    layered_energies,
)

Units = Float[np.ndarray, " n_hidden"]

_MAX_STEPS = 200
_PROMISED, _SMALLEST_STEP = 1e-4, 2.0**-40
# Roundings of an energy that a rise is put down to.
_ROUNDINGS = 4.0
# Curvatures below this part of the largest count as this much.
_FLATTEST = 1e-8


class NoEquilibriumError(ArithmeticError):
    """Newton's method ended where forces do not vanish, or at no minimum."""


def relaxed_activities(
    network: Layered,
    x: Inputs,
    y: Targets,
    precision: Precision | None = None,
    start: Sequence[Batch] | None = None,
    residual: float = 1e-11,
) -> list[Batch]:
    """``z_0 … z_L`` at an equilibrium, the last the target.

    Parameters
    ----------
    network
        Without kinks, and of a size whose ``H`` may be dense.
    x, y, precision
        A batch.
    start
        Where to begin; the feedforward activities if not given.
    residual
        ``‖∂(N𝓕)/∂z‖`` of a sample to end at, relative to the size of its activities.

    Raises
    ------
    NoEquilibriumError
        If Newton's method does not arrive, or not at a minimum.
    """
    begin = feedforward(network, x) if start is None else list(start)
    widths = [z.shape[1] for z in begin[1:-1]]
    if not widths:
        return [x, y]
    cuts = np.cumsum(widths)[:-1]
    hidden = np.concatenate(begin[1:-1], axis=1)
    weights = None if precision is None else np.broadcast_to(np.asarray(precision), y.shape)
    for n in range(len(x)):
        own = None if weights is None else weights[n : n + 1]
        sample = _Sample(network, x[n : n + 1], y[n : n + 1], own, cuts)
        hidden[n] = sample.relax(hidden[n], residual)
    return [x, *np.split(hidden, cuts, axis=1), y]


class _Sample:
    """The energy of one sample as a function of its hidden activities."""

    def __init__(
        self,
        network: Layered,
        x: Float[np.ndarray, "1 d_0"],
        y: Float[np.ndarray, "1 d_L"],
        precision: Float[np.ndarray, "1 d_L"] | None,
        cuts: Sequence[int] | np.ndarray,
    ) -> None:
        self._network, self._x, self._y, self._precision = network, x, y, precision
        self._cuts = cuts

    def relax(self, z: Units, residual: float) -> Units:
        """Descend."""
        wanted = residual * (1 + float(np.linalg.norm(z)))
        for _ in range(_MAX_STEPS):
            force = self._slope(z)
            values, vectors = np.linalg.eigh(self._hessian(z))
            if np.linalg.norm(force) <= wanted and values[0] > 0:
                return z
            sizes = np.maximum(np.abs(values), _FLATTEST * np.max(np.abs(values)))
            step = -vectors @ ((vectors.T @ force) / sizes)
            z = self._downhill(z, step, float(force @ step))
        raise NoEquilibriumError("Newton's method did not find a minimum of the energy")

    def _downhill(self, z: Units, step: Units, slope: float) -> Units:
        energy, length = self._energy(z), 1.0
        while length > _SMALLEST_STEP:
            moved: Units = z + length * step
            # Near the end the decrease is less than the energy's last digit: full steps then.
            noise = _ROUNDINGS * float(np.finfo(float).eps) * (1 + energy)
            if self._energy(moved) <= energy + _PROMISED * length * slope + noise:
                return moved
            length /= 2
        raise NoEquilibriumError("Newton's method found no way down")

    def _at(self, rows: Float[np.ndarray, "1 n_hidden"]) -> list[Batch]:
        return [self._x, *np.split(rows, self._cuts, axis=1), self._y]

    def _energy(self, z: Units) -> float:
        return float(layered_energies(self._network, self._at(z[None]), self._precision).sum())

    def _slope(self, z: Units) -> Units:
        slopes = activity_residuals(self._network, self._at(z[None]), self._precision)
        joined: Units = np.concatenate(slopes, axis=1)[0]
        return joined

    def _hessian(self, z: Units) -> Float[np.ndarray, "n_hidden n_hidden"]:
        return hessian_rows(self._network, self._at(z[None]), np.eye(len(z)), self._precision)
