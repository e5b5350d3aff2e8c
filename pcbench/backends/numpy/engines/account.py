"""What an engine that relaxes a whole batch has to say of how it went."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pcbench.backends.numpy.maps import Batch
from pcbench.backends.numpy.state import State, side_by_side
from pcbench.contract.inference import IterativeInference
from pcbench.contract.model import Inference


class Account:
    """Follows a batch from state to state.

    Parameters
    ----------
    start
        The feedforward activities.
    settings
        The residual to reach, the budget, and whether to record.

    Attributes
    ----------
    steps
        Taken so far.
    passes
        Of the batch through all weights: forward to the start, and back to its slopes.
    residual
        Of the batch, relative to the start.
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

    Parameters
    ----------
    state, steps, passes, path
        Where it ended, and how it came there.
    starts
        ``‖∂(N𝓕)/∂z‖`` of each sample at the feedforward activities.
    asked
        The residual to reach; infinity for any that is a number.
    by_sample
        Whether every sample has to reach it, or all together.
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
