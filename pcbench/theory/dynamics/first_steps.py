r"""The first steps of training, foretold from the initial weights alone (§2.7).

In a linear network both gradients are closed forms (§2.1), and so are steps of gradient descent:
training is replayed here, in float64. A backend rounds at every step, and begins the next one where
that has led it. How far that carries the gradients is found by replays that err: after each step
every weight is off by up to ``u`` of itself, but by no more than it moved (what rounds to the
nearest number never rounds further), and its gradient by as much as one gradient may be. Errors of
all steps point one way, as those of weights do that move by less than their last digit. In one
replay they hold back all that moves, which is that case itself; in the others their directions are
drawn. The largest change, times ``λ``, is the tolerance.

Errors of replays are ``2^-30`` of what they are added to, or less where ``S`` bears less
(``stochastic.py``). They vanish in float64 only beside weights that move by less than ``2^-23`` of
their last digit; that is far less than what a gradient at those weights rounds by itself, which is
counted at each step. There is no bound from the step on at which ``S`` bears no such error, the
weights are not finite any more, or an error has grown into a change that is not small: by more than
an eighth in the product of all weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Inputs, Targets, WeightGradients, Weights
from pcbench.theory.dynamics.growth import Batch
from pcbench.theory.linear.activities import equilibrium_activities
from pcbench.theory.linear.equilibrium import equilibrated_energy_gradient, loss_gradient
from pcbench.theory.nonlinear.layered import Layered
from pcbench.theory.rounding.bounds import CONFIDENCE, FLOAT64
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.perturbation import (
    covariance_probe,
    equilibrium_rounding,
    loss_gradient_rounding,
)
from pcbench.theory.rounding.stochastic import PROBE, SMALL, allowed, draws, generator

Objective = Literal["loss", "energy"]
Gradients = WeightGradients
Noise = Sequence[Float[np.ndarray, "_out _inp"] | None]


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """Gradient norms of ``K`` steps, before each update.

    Attributes
    ----------
    norms
        Frobenius norm of the gradient of every layer, ``(K, L)``; no finite numbers where weights
        or ``S`` are beyond float64.
    off
        How far rounding may carry a gradient from there, Frobenius norm, ``(K, L)``; what the norm
        itself rounds is not in it. Infinite where float64 cannot tell.
    """

    norms: Float[np.ndarray, "K L"]
    off: Float[np.ndarray, "K L"]


def first_steps(
    weights: Weights, batches: Sequence[Batch], rate: float, objective: Objective, u: float
) -> FirstSteps:
    """Foretell the gradient norms of gradient descent in a linear network.

    Parameters
    ----------
    weights
        At step 0.
    batches
        Inputs and targets that each step sees.
    rate
        ``η``, times the scale of gradients.
    objective
        ``loss`` for backpropagation, ``energy`` for predictive coding with exact inference.
    u
        The unit roundoff of the dtype that is trained in.
    """
    rng, both = generator(), u + FLOAT64
    drawn: list[Noise] = [
        [rng.standard_normal(weight.shape) for weight in weights]
        for _ in range(draws(min(weight.size for weight in weights)))
    ]
    drawn.append([None] * len(weights))
    with np.errstate(over="ignore", invalid="ignore"):  # weights that leave the range are no error
        path = _path(weights, batches, rate, objective)
        norms = np.array([[_norm(slope) for slope in slopes] for _, slopes in path])
        known = [_probe(exact, objective) for exact, _ in path]
    off = np.full_like(norms, np.inf)
    known = known[: known.index(None)] if None in known else known
    probe = min((one for one in known if one is not None), default=PROBE)
    replays = [list(weights) for _ in drawn]
    for step in range(len(known)):
        (exact, slopes), (x, y) = path[step], batches[step]
        if not np.isfinite(norms[step]).all():
            break
        moved = [
            _norm(ours - theirs) / _norm(theirs)
            for replay in replays
            for ours, theirs in zip(replay, exact, strict=True)
            if theirs.any()
        ]
        by_itself = np.array(_rounding(exact, x, y, objective, u))
        if max(moved, default=0.0) * len(weights) > SMALL or not np.isfinite(by_itself).all():
            break
        apart = []
        for index, noise in enumerate(drawn):
            erring = _gradient(replays[index], x, y, objective)
            apart.append([_norm(a - b) for a, b in zip(erring, slopes, strict=True)])
            replays[index] = [
                _stepped(weight, rate * slope, rate * float(rounding), both, one, probe)
                for weight, slope, rounding, one in zip(
                    replays[index], erring, by_itself, noise, strict=True
                )
            ]
        off[step] = allowed(apart, both, probe) + by_itself
    return FirstSteps(norms, off)


def _path(
    weights: Weights, batches: Sequence[Batch], rate: float, objective: Objective
) -> list[tuple[Gradients, Gradients]]:
    """Weights and their gradients at every step, as far as float64 has them; then no numbers."""
    path, exact = [], list(weights)
    for x, y in batches:
        slopes = [np.full_like(weight, np.nan) for weight in exact]
        if _probe(exact, objective) is not None:
            slopes = _gradient(exact, x, y, objective)
        path.append((exact, slopes))
        exact = [weight - rate * slope for weight, slope in zip(exact, slopes, strict=True)]
    return path


def _probe(weights: Weights, objective: Objective) -> float | None:
    """Choose the size of errors that these weights bear; ``None`` where there is none."""
    if not all(np.isfinite(weight).all() for weight in weights):
        return None
    return PROBE if objective == "loss" else covariance_probe(weights)


def _gradient(weights: Weights, x: Inputs, y: Targets, objective: Objective) -> Gradients:
    by = loss_gradient if objective == "loss" else equilibrated_energy_gradient
    return by(weights, x, y)


def _rounding(
    weights: Weights, x: Inputs, y: Targets, objective: Objective, u: float
) -> tuple[float, ...]:
    """Bound the rounding of one gradient, ``λ`` standard deviations of it."""
    if objective == "loss":
        return loss_gradient_rounding(weights, x, y, u)
    network = Layered(weights, None, "identity", "post")
    activities = [*equilibrium_activities(weights, x, y)[:-1], y]
    carried = equilibrium_rounding(weights, x, y, u).carried
    lost = layered_rounding(network, activities, u).gradients
    return tuple(a + b for a, b in zip(carried, lost, strict=True))


def _stepped(
    weight: Float[np.ndarray, "_out _inp"],
    change: Float[np.ndarray, "_out _inp"],
    change_off: float,
    u: float,
    noise: Float[np.ndarray, "_out _inp"] | None,
    probe: float,
) -> Float[np.ndarray, "_out _inp"]:
    """Take a step that errs ``probe/u`` times as much as rounding: as drawn, or held back."""
    after = weight - change
    last = np.minimum(np.abs(after), np.abs(change) / u)
    # The bound on a gradient is λ standard deviations already; it counts for one of them here.
    spread = change_off / (CONFIDENCE * u * np.sqrt(weight.size))
    direction = np.sign(change) if noise is None else noise
    erring: Float[np.ndarray, "_out _inp"] = after + probe * (last + spread) * direction
    return erring


def _norm(array: Float[np.ndarray, "_rows _columns"]) -> float:
    return float(np.linalg.norm(array))
