r"""How far rounding may carry backpropagation through any network (§4.5).

A forward pass carries the rounding of all layers below, and a backward pass that of all above. Both
are repeated with errors of the size that ``units.py`` derives for each unit (stochastic
arithmetic, as in ``stochastic.py``): of every activity as it is made, and of every force as it
is pulled back. What that changes in the gradients, times ``λ``, and what their own last product
rounds, is the tolerance. The slope of a rectifier whose potential is as near to its kink as
rounding carries it may be either, and so may the force that goes through it: what all such doubts
may change at once is added up by size.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Inputs, Targets
from pcbench.theory.nonlinear.layered import (
    Batch,
    Layered,
    Precision,
    activate,
    activation_slope,
    bias_gradient,
    feedforward,
    layer,
    potential,
    pull_back_to_potential,
    weigh,
)
from pcbench.theory.rounding.bounds import CONFIDENCE, of_both
from pcbench.theory.rounding.feedforward import flushed, is_small, with_underflow
from pcbench.theory.rounding.layered import parameter_rounding
from pcbench.theory.rounding.stochastic import DRAWS, PERTURBED, PROBES, allowed, draws, generator
from pcbench.theory.rounding.underflow import underflow
from pcbench.theory.rounding.units import (
    JUMP,
    UnitRounding,
    pull_rounding,
    unit_roundings,
    with_force,
)


def backpropagation_rounding(
    network: Layered, x: Inputs, y: Targets, u: float, precision: Precision | None = None
) -> tuple[float, ...]:
    """Bound the rounding of ``∂𝓛/∂A_l``, then of ``∂𝓛/∂b_l``, Frobenius norms.

    Parameters
    ----------
    network, x, y, precision
        A network of any layers, and a batch.
    u
        The unit roundoff of the backend's dtype.

    Returns
    -------
    tuple
        Bounds; infinite where errors grow too large for float64 to tell (``feedforward_rounding``),
        or where a layer's rounding is larger than the layer: what it does to slopes is no multiple
        of a small error's any more, and such a multiple no evidence.
    """
    forward = feedforward(network, x)
    activities = [*forward[:-1], y]
    units = with_underflow(
        network, activities, unit_roundings(network, activities, u, precision), u
    )
    unbounded = (inf,) * (len(network.weights) + len(network.biases or ()))
    rng = generator()
    entries = min(weight.size for weight in network.weights)
    repeats = draws(min(entries, forward[-1].size))
    for probe in PROBES:
        noisy = [_forward(network, forward, units, probe, rng) for _ in range(repeats)]
        if all(is_small(network, forward[1:-1], z[1:-1]) for z in noisy):
            break
    else:
        return unbounded
    if any(_is_lost(network, forward, z, of_both(u) / probe) for z in noisy):
        return unbounded
    passes = _backward(network, forward, units, noisy, probe, of_both(u))
    if repeats == 1 and min(map(_carriers, passes.units)) < PERTURBED:
        noisy += [_forward(network, forward, units, probe, rng) for _ in range(DRAWS - 1)]
        passes = _backward(network, forward, units, noisy, probe, of_both(u))
    force = weigh(y - forward[-1], precision)[1]
    exact = _gradients(network, forward, forward, [np.zeros_like(z) for z in forward], force)
    own = [
        parameter_rounding(network, l, unit, of_both(u))
        for l, unit in enumerate(passes.units, start=1)
    ]
    own_rounding = [weight for weight, _ in own]
    if network.biases is not None:
        own_rounding += [bias for _, bias in own]
    changes, small = [], flushed(network, activities, u)
    for z in noisy:
        erring = [probe * np.hypot(s, small) * rng.standard_normal(s.shape) for s in passes.std]
        output = weigh(y - z[-1], precision)[1]
        gradients = _gradients(network, forward, z, erring, output)
        changes.append(
            [float(np.linalg.norm(a - b)) for a, b in zip(gradients, exact, strict=True)]
        )
    drawn = allowed(changes, of_both(u), probe)
    lost = underflow(network.weights, [*forward, force], carried=False, steepest=network.steepest)
    return tuple(float(a + b) + lost for a, b in zip(drawn, own_rounding, strict=True))


def _forward(
    network: Layered,
    forward: list[Batch],
    units: list[UnitRounding],
    probe: float,
    rng: np.random.Generator,
) -> list[Batch]:
    """Return a forward pass that errs."""
    z = [forward[0]]
    for l, unit in enumerate(units, start=1):
        errors = rng.standard_normal(unit.value_std.shape)
        z.append(layer(network, l, z[-1]) + probe * unit.value_std * errors)
    return z


def _is_lost(network: Layered, forward: list[Batch], z: list[Batch], scale: float) -> bool:
    """Whether errors, scaled to the roundoff, are larger than a layer's activities."""
    if network.activation in ("identity", *JUMP):
        return False
    return any(
        scale * np.linalg.norm(erring - exact) > np.linalg.norm(exact)
        for exact, erring in zip(forward[1:-1], z[1:-1], strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Backward:
    """A backward pass: each layer with the force at it, and what each force errs by itself.

    Attributes
    ----------
    units
        Of layers ``1 … L``.
    std
        Standard deviations of the forces at ``z_0 … z_L``, in units of ``u``.
    """

    units: list[UnitRounding]
    std: list[Batch]


def _backward(
    network: Layered,
    forward: list[Batch],
    units: list[UnitRounding],
    noisy: list[list[Batch]],
    probe: float,
    u: float,
) -> _Backward:
    """Pull the output's force down."""
    made, std = [units[-1]], [units[-1].force_std]
    for l in range(network.depth, 1, -1):
        before, _ = network.activations(l)
        pull = pull_rounding(network, l, forward[l - 1], made[0])
        std.insert(0, np.sqrt(pull.brought + pull.own))
        away = [np.abs(z[l - 1] - forward[l - 1]) / probe for z in noisy]
        near = np.abs(forward[l - 1]) < CONFIDENCE * u * np.max(away, axis=0)
        jump = near * JUMP.get(before, 0.0)
        # A slope in doubt lets through what is in doubt above, too.
        doubt = np.where(jump > 0, pull.doubts, pull.flips) + jump * np.abs(pull.at_input)
        made.insert(
            0,
            with_force(
                network,
                l - 1,
                units[l - 2],
                pull.pulled,
                doubt,
                _potential_off(network, l - 1, forward, noisy, probe),
                u,
            ),
        )
    std.insert(0, np.zeros_like(forward[0]))
    return _Backward(made, std)


def _carriers(unit: UnitRounding) -> float:
    """How many potentials carry a gradient: of normal numbers, all; where most saturate, few."""
    squares = unit.back**2
    fourth = float(np.sum(squares**2))
    return 3 * float(np.sum(squares)) ** 2 / fourth if fourth else np.inf


def _potential_off(
    network: Layered, l: int, forward: list[Batch], noisy: list[list[Batch]], probe: float
) -> Batch:
    """How far rounding below carries each potential, at most in what was drawn."""
    exact = potential(network, l, forward[l - 1])
    away = [np.abs(potential(network, l, z[l - 1]) - exact) for z in noisy]
    largest: Batch = np.max(away, axis=0) / probe
    return largest


def _gradients(
    network: Layered,
    forward: list[Batch],
    z: list[Batch],
    erring: list[Batch],
    force: Batch,
) -> list[Float[np.ndarray, "..."]]:
    """``∂𝓛/∂A_l``, then ``∂𝓛/∂b_l``, of a forward and a backward pass that err.

    Kinks are not crossed here: crossing one is no small change, and is counted apart.
    """
    slopes = forward if network.activation in JUMP or network.pools else z
    by_weight: list[Float[np.ndarray, "..."]] = []
    by_bias: list[Float[np.ndarray, "..."]] = []
    force = force + erring[-1]
    for l in range(network.depth, 0, -1):
        before, _ = network.activations(l)
        back = pull_back_to_potential(network, l, slopes[l - 1], force) / -len(force)
        by_weight.insert(0, network.linear(l).gradient(activate(before, z[l - 1]), back))
        bias = bias_gradient(network, l, back)
        if bias is not None:
            by_bias.insert(0, bias)
        pulled = activation_slope(before, slopes[l - 1]) * network.linear(l).pull_back(back)
        force = -len(force) * pulled + erring[l - 1]
    return [*by_weight, *by_bias]
