r"""How far rounding may carry a forward pass and backpropagation in any network (§4.4, §4.5).

A forward pass, where every engine of inference starts, carries the rounding of all layers below,
and a backward pass that of all above. Both are repeated with errors of the size that ``units.py``
derives for each unit (stochastic arithmetic, as in ``stochastic.py``): of every activity as it is
made, and of every force as it is pulled back. What that changes, times ``λ``, and what the last
product rounds by itself, is the tolerance. For the loss a first order is enough: rounding of
``z_l`` by ``δ_l`` moves ``N𝓛`` by ``-⟨λ_l, δ_l⟩``, where backpropagation gives ``λ_l``. What is
flushed to zero on the way (``underflow.py``) is drawn with it.

The slope of a rectifier whose potential is as near to its kink as rounding carries it may be
either, and so may the force that goes through it: what all such doubts may change at once is added
up by size.

A deep network of large weights that saturates may magnify an error ``2^30`` times, and what is not
small any more does not grow in proportion. The errors are then drawn smaller; where the smallest
that stand out from float64's rounding still grow too large, there is no bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Batch, Inputs, Targets
from pcbench.theory.nonlinear.activations import activate, activation_slope
from pcbench.theory.nonlinear.layered import (
    Layered,
    Precision,
    backpropagated,
    bias_gradient,
    feedforward,
    layer,
    potential,
    pull_back,
    pull_back_to_potential,
    weigh,
)
from pcbench.theory.rounding.bounds import CONFIDENCE, of_both
from pcbench.theory.rounding.layered import layered_rounding, parameter_rounding, vector_bound
from pcbench.theory.rounding.stochastic import (
    DRAWS,
    PERTURBED,
    PROBES,
    SMALL,
    allowed,
    draws,
    generator,
)
from pcbench.theory.rounding.underflow import underflow
from pcbench.theory.rounding.units import (
    JUMP,
    UnitRounding,
    pull_rounding,
    unit_roundings,
    with_force,
)

PerSample = Float[np.ndarray, " N"]


@dataclass(frozen=True, slots=True)
class FeedforwardRounding:
    """Absolute bounds on the rounding of a forward pass and of what is evaluated after it."""

    loss: float  # 𝓛
    sample_losses: tuple[float, ...]  # ½ (y - ŷ)ᵀ π (y - ŷ), one a sample
    residual: float  # ‖∂(N𝓕)/∂z‖ at the feedforward activities
    sample_residuals: tuple[float, ...]  # the same of each sample
    activities: float  # z_1 … z_{L-1}, Frobenius norm over all of them
    prediction: float  # ŷ, Frobenius norm


def feedforward_rounding(
    network: Layered, x: Inputs, y: Targets, u: float, precision: Precision | None = None
) -> FeedforwardRounding:
    """Bound the rounding, at unit roundoff ``u``, of a forward pass from ``x``."""
    forward = feedforward(network, x)
    activities = [*forward[:-1], y]
    there = layered_rounding(network, activities, u, precision)
    units = _with_underflow(network, activities, u, precision)
    # Float32's own size is used as it is: what it makes of activities is no small change.
    for probe in [probe for probe in PROBES if probe > u] or [u]:
        # All draws as one batch; the last layer makes no errors of its own.
        erring = _forward(network, forward, units[:-1], probe, generator(), DRAWS)
        exact = [_repeated(z) for z in forward]
        if probe <= u or _is_small(network, exact[1:-1], erring[1:-1]):
            break
    else:
        each = (inf,) * len(x)
        return FeedforwardRounding(inf, each, inf, each, inf, inf)
    scale = CONFIDENCE * of_both(u)
    # All changes are in units of the errors drawn; of each norm the largest of any draw is taken.
    away = [_by_draw(z - own) for z, own in zip(erring, exact, strict=True)]
    hidden = np.sqrt(sum((np.sum((off / probe) ** 2, axis=(1, 2)) for off in away[1:-1]), 0.0))
    off = away[-1] / probe
    weight = np.broadcast_to(1.0 if precision is None else np.asarray(precision), y.shape)
    slopes = _slopes_apart(network, forward, units[-1], erring[-2], weight * off, probe)
    flips = _flips(network, forward, units, scale * np.abs(away[-2] / probe).max(axis=0))
    variances = _loss_variances(network, forward, units)
    second = (scale * np.sqrt((weight * off**2).sum(axis=2)).max(axis=0)) ** 2 / 2
    sample_losses = there.sample_energies + scale * np.sqrt(variances) + second
    of_slopes = scale * np.linalg.norm(slopes, axis=2).max(axis=0)
    sample_residuals = there.sample_residuals + of_slopes + flips
    slope = float(np.sqrt(np.sum(slopes**2, axis=(1, 2)).max()))
    prediction = float(np.sqrt(np.sum(off**2, axis=(1, 2)).max()))
    return FeedforwardRounding(
        loss=sum(there.energies)
        + (scale * float(np.sqrt(np.sum(variances))) + float(np.sum(second))) / len(x),
        sample_losses=tuple(sample_losses.tolist()),
        residual=there.residual + scale * slope + float(np.linalg.norm(flips)),
        sample_residuals=tuple(sample_residuals.tolist()),
        activities=scale * float(np.max(hidden)),
        prediction=vector_bound(units[-1].value_std, units[-1], of_both(u)) + scale * prediction,
    )


def _with_underflow(
    network: Layered, activities: Sequence[Batch], u: float, precision: Precision | None
) -> list[UnitRounding]:
    """Return layers whose activities may be flushed to zero, too, in units of ``u``."""
    lost = _flushed(network, activities, u)
    units = unit_roundings(network, activities, u, precision)
    return [replace(unit, value_std=np.hypot(unit.value_std, lost)) for unit in units]


def _flushed(network: Layered, activities: Sequence[Batch], u: float) -> float:
    """What an activity or a force may be off by where it is flushed, in units of both roundings."""
    lost = underflow(
        network.weights, activities, forward=True, carried=False, steepest=network.steepest
    )
    return lost / of_both(u)


# Squares may overflow, to no bound at all.
@np.errstate(over="ignore", invalid="ignore")
def _loss_variances(network: Layered, forward: list[Batch], units: list[UnitRounding]) -> PerSample:
    """Variance of ``½ (y - ŷ)ᵀ π (y - ŷ)`` by what hidden activities err, in ``u²``."""
    sent = backpropagated(network, forward, units[-1].force)
    below = zip(sent, units[:-1], strict=False)
    variances = [np.sum((force * unit.value_std) ** 2, axis=1) for force, unit in below]
    return sum(variances, np.zeros(len(forward[0])))


def _flips(
    network: Layered, forward: list[Batch], units: list[UnitRounding], off: Batch
) -> PerSample:
    """What slopes of the last hidden activities may change at kinks that these may cross."""
    before, _ = network.activations(network.depth)
    jump, z = JUMP.get(before, 0.0), forward[-2]
    if not jump or network.depth == 1:
        return np.zeros(len(z))
    pull = pull_rounding(network, network.depth, z, units[-1])
    flips: PerSample = jump * np.linalg.norm(pull.at_input * (np.abs(z) < off), axis=1)
    return flips


def _is_small(network: Layered, exact: Sequence[Batch], erring: Sequence[Batch]) -> bool:
    """Whether errors of hidden activities are still in proportion to what made them.

    Changes are relative to an activity, or to 1. They always are in proportion where slopes do not
    change but at kinks, which are counted apart.
    """
    if network.activation in ("identity", *JUMP):
        return True
    return all(
        bool((np.abs(b - a) <= SMALL * np.maximum(1.0, np.abs(a))).all())
        for a, b in zip(exact, erring, strict=True)
    )


def _slopes_apart(
    network: Layered,
    forward: list[Batch],
    last: UnitRounding,
    z: Batch,
    force_off: Float[np.ndarray, "draws N _d"],
    probe: float,
) -> Float[np.ndarray, "draws N _d"]:
    """How far ``∂(N𝓕)/∂z`` at perturbed activities is from that of the forward pass.

    Kinks are not crossed here: crossing one is no small change, and is counted apart.
    """
    l, exact = network.depth, forward[-2]
    if l == 1:
        return np.zeros((DRAWS, len(exact), 1))
    at = _repeated(exact) if network.activation in JUMP else z
    force = _repeated(last.force) - probe * force_off.reshape(len(z), -1)
    apart = pull_back(network, l, at, force) - _repeated(pull_back(network, l, exact, last.force))
    return _by_draw(apart / probe)


def _repeated(z: Batch) -> Batch:
    return np.tile(z, (DRAWS, 1))


def _by_draw(z: Batch) -> Float[np.ndarray, "draws N _d"]:
    return z.reshape(DRAWS, -1, z.shape[1])


def backpropagation_rounding(
    network: Layered, x: Inputs, y: Targets, u: float, precision: Precision | None = None
) -> tuple[float, ...]:
    """Bound the rounding of ``∂𝓛/∂A_l``, then of ``∂𝓛/∂b_l``, Frobenius norms.

    Infinite where errors grow too large for float64 to tell, or where a layer's rounding is larger
    than the layer and than 1: what it does to slopes is no multiple of what a small error does.
    """
    forward, both = feedforward(network, x), of_both(u)
    activities = [*forward[:-1], y]
    units = _with_underflow(network, activities, u, precision)
    rng, noisy = generator(), list[list[Batch]]()
    entries = min(weight.size for weight in network.weights)
    repeats = draws(min(entries, forward[-1].size))
    for probe in PROBES:
        noisy = [_forward(network, forward, units, probe, rng) for _ in range(repeats)]
        if all(_is_small(network, forward[1:-1], z[1:-1]) for z in noisy):
            break
    else:
        noisy = []
    while True:
        if not noisy or any(_is_lost(network, forward, z, both / probe) for z in noisy):
            return (inf,) * (len(network.weights) + len(network.biases or ()))
        pulled, std = _backward(network, forward, units, noisy, probe, both)
        if len(noisy) == DRAWS or min(map(_carriers, pulled)) >= PERTURBED:
            break
        noisy += [_forward(network, forward, units, probe, rng) for _ in range(DRAWS - 1)]
    force = weigh(y - forward[-1], precision)[1]
    exact = _gradients(network, forward, forward, [np.zeros_like(z) for z in forward], force)
    changes, small = [], _flushed(network, activities, u)
    for z in noisy:
        erring = [probe * np.hypot(s, small) * rng.standard_normal(s.shape) for s in std]
        output = weigh(y - z[-1], precision)[1]
        gradients = _gradients(network, forward, z, erring, output)
        changes.append(
            [float(np.linalg.norm(a - b)) for a, b in zip(gradients, exact, strict=True)]
        )
    drawn = allowed(changes, both, probe)
    own = [parameter_rounding(network, l, unit, both) for l, unit in enumerate(pulled, start=1)]
    # Of all weights, and then of all biases, if there are any.
    in_order = [off for kind in zip(*own, strict=True) for off in kind][: len(exact)]
    sent = backpropagated(network, forward, force)
    lost = underflow(network.weights, [*forward, *sent], carried=False, steepest=network.steepest)
    return tuple(float(a + b) + lost for a, b in zip(drawn, in_order, strict=True))


def _is_lost(network: Layered, forward: list[Batch], z: list[Batch], scale: float) -> bool:
    """Whether errors, scaled to the roundoff, are larger than a layer's activities, and than 1.

    Slopes of smooth activations change on a scale of 1: smaller errors do little to them.
    """
    if network.activation in ("identity", *JUMP):
        return False
    return any(
        scale * np.linalg.norm(erring - exact) > max(1.0, float(np.linalg.norm(exact)))
        for exact, erring in zip(forward[1:-1], z[1:-1], strict=True)
    )


def _forward(
    network: Layered,
    forward: list[Batch],
    units: list[UnitRounding],
    probe: float,
    rng: np.random.Generator,
    copies: int = 1,
) -> list[Batch]:
    """Return copies of a forward pass, as one batch, in which the layers that are given err."""
    z = [np.tile(forward[0], (copies, 1))]
    for l in range(1, network.depth + 1):
        z.append(layer(network, l, z[-1]))
        if l <= len(units):
            std = np.tile(units[l - 1].value_std, (copies, 1))
            z[-1] = z[-1] + probe * std * rng.standard_normal(std.shape)
    return z


def _backward(
    network: Layered,
    forward: list[Batch],
    units: list[UnitRounding],
    noisy: list[list[Batch]],
    probe: float,
    u: float,
) -> tuple[list[UnitRounding], list[Batch]]:
    """Pull the output's force down: each layer with the force at it, and what each force errs.

    The latter are standard deviations of the forces at ``z_0 … z_L``, in units of ``u``.
    """
    made, std = [units[-1]], [units[-1].force_std]
    for l in range(network.depth, 1, -1):
        before, _ = network.activations(l)
        pull = pull_rounding(network, l, forward[l - 1], made[0])
        std.insert(0, np.sqrt(pull.brought + pull.own))
        off = np.max([np.abs(z[l - 1] - forward[l - 1]) / probe for z in noisy], axis=0)
        near = np.abs(forward[l - 1]) < CONFIDENCE * u * off
        jump = near * JUMP.get(before, 0.0)
        # A slope in doubt lets through what is in doubt above, too.
        doubt = np.where(jump > 0, pull.doubts, pull.flips) + jump * np.abs(pull.at_input)
        # How far rounding below carries each potential, at most in what was drawn.
        exact = potential(network, l - 1, forward[l - 2])
        moved = [np.abs(potential(network, l - 1, z[l - 2]) - exact) for z in noisy]
        off = np.max(moved, axis=0) / probe
        made.insert(0, with_force(network, l - 1, units[l - 2], pull.pulled, doubt, off, u))
    std.insert(0, np.zeros_like(forward[0]))
    return made, std


def _carriers(unit: UnitRounding) -> float:
    """How many potentials carry a gradient: of normal numbers, all; where most saturate, few."""
    squares = unit.back**2
    fourth = float(np.sum(squares**2))
    return 3 * float(np.sum(squares)) ** 2 / fourth if fourth else np.inf


def _gradients(
    network: Layered, forward: list[Batch], z: list[Batch], erring: list[Batch], force: Batch
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
