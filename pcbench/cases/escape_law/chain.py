"""What the laws of escape become at finite scales: chains of single units, step by step."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pcbench.cases.escape_law.fits import Bounds, power_of_shifted_logarithm
from pcbench.cases.escape_law.parameters import Parameters
from pcbench.contract import Objective
from pcbench.judges.problem import Problem
from pcbench.theory.dynamics.escape import Moments, steps_to_fall

_FACTORS = (0.5, 1.0, 2.0)
"""Rows vary in length, from row to row and layer to layer."""

_BENT = 0.5
"""Of its potential, tanh passes that on at 1.9: more than the activities are by the escape."""


def chain_power(
    problem: Problem, scales: Float[np.ndarray, " 3"], asked: Parameters
) -> Bounds | str:
    """Bound ``κ`` of PC, fitted at three scales, in chains of single units; or say why not.

    A network of rank 1 that has grown is a chain, and the fit is not the law's limit but what that
    chain has at these scales, with these data, fraction and step size. See :func:`chain_times`.
    """
    times = chain_times(problem, scales, asked, "energy", asked.training.max_steps)
    if near := too_near(scales[0], times[0]):
        return near
    if np.isinf(times).any():
        return "a chain of single units has not left within training.max_steps"
    powers = np.array([power_of_shifted_logarithm(*chain) for chain in times.T])
    return Bounds(powers.min(keepdims=True), powers.max(keepdims=True))


def too_near(scale: float, times: Float[np.ndarray, " chains"]) -> str:
    """Say if a chain from this scale is out within a step: it does not start near the origin."""
    if (times > 1).all():
        return ""
    return (
        f"from a scale of {scale:.2g}, not near the origin, a chain of single units leaves at once"
    )


def chain_times(
    problem: Problem,
    scales: Float[np.ndarray, " scales"],
    asked: Parameters,
    objective: Objective,
    max_steps: int,
) -> Float[np.ndarray, "scales chains"]:
    """Return in how many steps the loss falls in chains of single units.

    The chain learns the leading direction of the data. What grows in ``W_l``, ``l > 1``, is the row
    that belongs to the direction grown above, ``σ √d_{l-1}`` long. ``W_1`` grows side by side with
    that of ``W_2``: it begins between the part of its column in the same direction, ``σ``, and all
    of that, ``σ √d_1``. Both are tried, each chain at half, once and twice the size. Units that
    bend pass on less, and what is above or below them has to grow further: of the chain, with half
    of the input as well.
    """
    x, y, widths = problem.x, problem.y, problem.network.widths
    _, _, outputs = np.linalg.svd(y, full_matrices=False)
    target = y @ outputs[0]
    inputs = x.T @ target
    along = x @ (inputs / np.linalg.norm(inputs))
    sizes = (scales[:, None, None] * np.reshape(_FACTORS, (1, -1, 1))).repeat(2, axis=2)
    starts = [sizes * np.array([1.0, np.sqrt(widths[1])])]
    starts += [sizes * np.sqrt(width) for width in widths[1:-1]]
    # Other directions stay as they are: of the one that leaves, more has to fall.
    part = asked.fraction * np.sum(y**2) / np.sum(target**2)
    explained = np.sum(along * target) ** 2 / (np.sum(along**2) * np.sum(target**2))
    if part >= explained:
        return np.full((len(scales), 1), np.inf)
    times = [
        steps_to_fall(
            [start.reshape(-1, 1, 1) for start in starts],
            Moments.of(passed_on * along[:, None], target[:, None]),
            objective,
            step=asked.training.learning_rate,
            fraction=float(part),
            max_steps=max_steps,
        ).loss.reshape(len(scales), -1)
        for passed_on in ((1.0,) if problem.network.is_linear else (1.0, _BENT))
    ]
    return np.concatenate(times, axis=1)
