r"""The steps of inference by gradient descent, one by one, in any network (§2.3).

In the activities, ``z ← z - Δt ∂(N𝓕)/∂z``; in the prediction errors, with ``z_l = f_l(z_{l-1}) +
e_l``, ``e ← e - Δt ∂(N𝓕)/∂e`` (Goemaere et al. 2025, arXiv:2505.20137), where

.. math:: ∂(N𝓕)/∂e_l = e_l - λ_l, \qquad λ_l = J_{l+1}^T λ_{l+1}, \qquad λ_L = π e_L .

What rounding may make of them is found by stochastic arithmetic (§4.3): the same steps once more,
with relative errors in all that each is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Batch, Inputs, Targets, Units
from pcbench.theory.nonlinear.activations import KINKED
from pcbench.theory.nonlinear.layered import (
    Layered,
    Precision,
    activity_residuals,
    backpropagated,
    feedforward,
    layer,
    layered_energies,
    potential,
    weighted_errors,
)
from pcbench.theory.rounding.stochastic import DRAWS, allowed, generator, with_rounding

# Far above what float64 rounds, and a small change all the same.
_LEAST_PROBE = 2.0**-24
# Of the flow: far less than what any engine is asked for.
_RTOL, _ATOL = 1e-11, 1e-12


@dataclass(frozen=True, slots=True)
class Rule:
    """How inference is to step."""

    step: float  # Δt
    budget: int  # how many steps at most
    residual: float = 0.0  # the relative residual to end at
    halve: bool = False  # whether the step is halved where the energy rose
    smallest: float = 0.0  # inference ends where halving comes to this step
    in_errors: bool = False  # whether errors move instead of activities


@dataclass(frozen=True, slots=True)
class InferenceSteps:
    """Where ``T`` steps led from the feedforward activities."""

    # z_1 … z_{L-1} in the end, all units of a sample in a row
    hidden: Float[np.ndarray, "N n_hidden"]
    energies: Float[np.ndarray, "T_and_one L"]  # of every layer, at the start and after each step
    # ‖∂(N𝓕)/∂z‖ over that at the start (absolute where that is 0)
    residuals: Float[np.ndarray, " T_and_one"]
    steps: tuple[float, ...]  # Δt of each
    clearances: Float[np.ndarray, " T_and_one"]  # how far from a kink inference was


@dataclass(frozen=True, slots=True)
class StepsRounding:
    """Bounds on what rounding may do to the same numbers: Frobenius norms, and of each row."""

    hidden: float
    energies: Float[np.ndarray, " T_and_one"]
    residuals: Float[np.ndarray, " T_and_one"]


def inference_steps(
    network: Layered,
    x: Inputs,
    y: Targets,
    rule: Rule,
    precision: Precision | None = None,
    given: Sequence[float] | None = None,
    erring: tuple[float, np.random.Generator] | None = None,
) -> InferenceSteps:
    """Take steps until the residual is reached, or the budget or the step is spent.

    Or of the sizes given; and with errors of a size, drawn by a generator, where ``erring`` has it.
    """
    moving = feedforward(network, x)[1:-1]
    if rule.in_errors:
        moving = [np.zeros_like(z) for z in moving]
    sizes: list[float] = []
    energies: list[Float[np.ndarray, " L"]] = []
    norms: list[float] = []
    clearances: list[float] = []
    size = rule.step
    while True:
        here, (x_now, y_now, *moving) = network, [x, y, *moving]
        if erring is not None:
            here, (x_now, y_now, *moving), _ = with_rounding(network, [x, y, *moving], [], *erring)
            if not (rule.in_errors or sizes):
                moving = feedforward(here, x_now)[1:-1]
        activities = [x_now, *moving, y_now]
        if rule.in_errors:
            for l, error in enumerate(moving, start=1):
                activities[l] = layer(here, l, activities[l - 1]) + error
            if erring is not None:
                # Activities round as well, and forces may be taken from them: of errors that are
                # small beside activities, fewer digits are left.
                activities[1:-1] = with_rounding(network, activities[1:-1], [], *erring)[1]
        slopes = activity_residuals(here, activities, precision)
        energies.append(layered_energies(here, activities, precision))
        norms.append(float(np.sqrt(sum(np.sum(slope**2) for slope in slopes))))
        clearances.append(clearance(here, activities))
        if rule.halve and len(energies) > 1 and energies[-1].sum() > energies[-2].sum():
            size /= 2
        if given is not None:
            over = len(sizes) == len(given)
        else:
            arrived = norms[-1] <= rule.residual * (norms[0] or 1.0)
            over = arrived or len(sizes) == rule.budget or (rule.halve and size <= rule.smallest)
        if over:
            break
        size = size if given is None else given[len(sizes)]
        if rule.in_errors:  # ∂(N𝓕)/∂e_l = e_l - λ_l
            *errors, force = weighted_errors(here, activities, precision)
            pulled = backpropagated(here, activities, force)
            slopes = [error - back for error, back in zip(errors, pulled, strict=False)]
        moving = [m - size * slope for m, slope in zip(moving, slopes, strict=True)]
        sizes.append(size)
    residuals = np.array(norms) / (norms[0] or 1.0)
    hidden = np.concatenate([x[:, :0], *activities[1:-1]], axis=1)
    return InferenceSteps(hidden, np.array(energies), residuals, tuple(sizes), np.array(clearances))


def steps_rounding(
    network: Layered,
    x: Inputs,
    y: Targets,
    rule: Rule,
    taken: InferenceSteps,
    u: float,
    precision: Precision | None = None,
) -> StepsRounding:
    """Bound what rounding at unit roundoff ``u`` may make of steps of the sizes taken."""
    rng, probe = generator(), max(u, _LEAST_PROBE)
    erring = [
        inference_steps(network, x, y, rule, precision, taken.steps, (probe, rng))
        for _ in range(DRAWS)
    ]
    norm, bounds = np.linalg.norm, partial(allowed, u=u, probe=probe)
    return StepsRounding(
        float(bounds([norm(one.hidden - taken.hidden) for one in erring])),
        bounds([norm(one.energies - taken.energies, axis=1) for one in erring]),
        bounds([abs(one.residuals - taken.residuals) for one in erring]),
    )


def decided(
    network: Layered,
    x: Inputs,
    y: Targets,
    rule: Rule,
    u: float,
    precision: Precision | None = None,
) -> Rule:
    """Cut the budget where rounding could decide whether a step is halved, or is the last.

    Differences of less than ``√u``, relative, are left alone: rounding is far smaller. So are kinks
    that are nearer than that, or than what rounding is probed with: forces jump there. The budget
    may come to nothing.
    """
    taken, margin = inference_steps(network, x, y, rule, precision), float(np.sqrt(u))
    totals = taken.energies.sum(axis=1)
    close = np.abs(taken.residuals - rule.residual) <= margin * rule.residual
    if rule.halve:
        close[1:] |= np.abs(np.diff(totals)) <= margin * totals[1:]
    close |= taken.clearances <= kink_margin(u)
    if not close.any():
        return rule
    return replace(rule, budget=int(np.argmax(close)) - 1)


def kink_margin(u: float) -> float:
    """Return the clearance from kinks that neither rounding nor its probes come near to."""
    return float(np.sqrt(max(u, _LEAST_PROBE)))


def clearance(network: Layered, activities: Sequence[Units]) -> float:
    """Return how near to a kink ``z_0 … z_L`` come, over the largest input of a layer's rectifiers.

    Infinite without kinks; 0 where convolutions pool, as maxima may be equal.
    """
    if any(pool > 1 for pool in network.pools):
        return 0.0
    bent = [np.abs(one) for _, one in _rectified(network, activities)]
    return float(min((one.min() / (one.max() or 1.0) for one in bent), default=np.inf))


def room_to_kinks(network: Layered, activities: Sequence[Units]) -> float:
    """Return how far hidden activities of fully connected layers may move without meeting a kink.

    A rectifier's input moves by no more than ``‖A‖`` times that, or as far where it sees
    activities themselves. Infinite without kinks. What the input of the network decides stays.
    """
    rooms, post = [np.inf], network.convention == "post"
    for l, one in _rectified(network, activities):
        if l > 1:
            norm = np.linalg.norm(network.weights[l - 1], 2) if post else 1.0
            rooms.append(np.abs(one).min() / (norm or 1.0))
    return float(min(rooms))


def _rectified(network: Layered, activities: Sequence[Batch]) -> list[tuple[int, Batch]]:
    """Return what the rectifiers of each layer see, if it has any, by the layer's number."""
    if network.activation not in KINKED:
        return []
    found = []
    for l in range(1, network.depth + 1):
        before, after = network.activations(l)
        if before in KINKED:
            found.append((l, activities[l - 1]))
        if after in KINKED:
            found.append((l, potential(network, l, activities[l - 1])))
    return found


def flowed(
    network: Layered, x: Inputs, y: Targets, time: float, precision: Precision | None = None
) -> Float[np.ndarray, "N n_hidden"]:
    """Where ``dz/dt = -∂(N𝓕)/∂z`` leads in a time: all hidden units of a sample in a row.

    By a Runge-Kutta method of order 8 (Hairer, Nørsett & Wanner 1993, II.10), in small tolerances.
    """
    start = feedforward(network, x)[1:-1]
    from scipy.integrate import solve_ivp  # it takes a tenth of a second, and few cases need it

    cuts = np.cumsum([z.shape[1] for z in start])[:-1]

    def force(_: float, flat: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        hidden = np.split(flat.reshape(len(x), -1), cuts, axis=1)
        slopes = activity_residuals(network, [x, *hidden, y], precision)
        joined: Float[np.ndarray, " n"] = -np.concatenate(slopes, axis=1).ravel()
        return joined

    begun = np.concatenate(start, axis=1).ravel()
    solved = solve_ivp(force, (0.0, time), begun, method="DOP853", rtol=_RTOL, atol=_ATOL)
    ended: Float[np.ndarray, "N n_hidden"] = solved.y[:, -1].reshape(len(x), -1)
    return ended
