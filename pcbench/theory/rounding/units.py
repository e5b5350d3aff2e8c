r"""What rounding does to every unit of a layer whose activities are given (§4.4).

Standard deviations are in units of ``u``. Those of inner products are of ``summation.py``; what
is done entry by entry is a few roundings, counted here. To first order,

.. math::
    δe = -\mathrm{pool}(φ'(a)\, δa), \qquad
    δ(φ'(a)\, π e) = φ''(a)\, π e\, δa + φ'(a)\, π\, δe ,

where ``δa`` is the same on both sides: their sizes are added. What is computed from the same
numbers errs the same way: of ``m`` equal units, samples or patches, each is given ``m`` times the
variance, so that they add up as if they were different. Two things are not small, and no
matter of variances. A rectifier's slope jumps where a potential is within its own rounding of the
kink; and a maximum within rounding of the next one may send its force there. What such a unit's
force may change by is kept apart, in ``flips``.

Nothing is drawn here: all is a formula in ``u``, of numbers that are needed to a factor of two
only. Where errors of these sizes are drawn (``passes.py``), the probe is ``2^23`` times float64's
roundoff, and what vanishes beside another number is that much less than what that number rounds by
itself, which is counted with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from pcbench.theory.arrays import Batch
from pcbench.theory.nonlinear.activations import (
    LEAK,
    Activation,
    Formula,
    activate,
    activation_curvature,
    activation_slope,
)
from pcbench.theory.nonlinear.layered import (
    Layered,
    LinearMap,
    Precision,
    Rows,
    from_windows,
    pool_with,
    unpool,
    weigh,
    windows,
)
from pcbench.theory.rounding.bounds import CONFIDENCE, of_both
from pcbench.theory.rounding.summation import (
    operator_norm_bound,
    rounded_product,
    scaled_norm_bounds,
)

JUMP: Mapping[Activation, float] = {"relu": 1.0, "leaky_relu": 1 - LEAK}
"""How far the slope jumps at the kink of an activation that has one."""

Maxima = Bool[np.ndarray, "_N _c _rows _columns _entries"]

# Errors in units of u: of a value, relative to it, and of a slope, which is made of the value.
# Libraries keep tanh and the logistic function within 4 units in the last place, 8 u (NumPy 4,
# CUDA 2, SLEEF 1); SiLU multiplies once more, and a leaky rectifier rounds its leak, too. The slope
# 1 - t² errs by 2 t δt, by the square and by the difference; SiLU's g + z g (1 - g) by the logistic
# g in each place, but beyond 40 g is 1 in either dtype, and what it lacks of 1 nothing at all.
_ROUNDINGS: Mapping[str, tuple[float, Callable[[Batch], Batch]]] = {
    "identity": (0.0, np.zeros_like),
    "tanh": (8.0, lambda z: 16 * np.tanh(z) ** 2 + 1),
    "relu": (0.0, np.zeros_like),
    "leaky_relu": (2.0, lambda z: np.where(z > 0, 0.0, LEAK)),
    "silu": (9.0, lambda z: 18 * expit(z) * (1 + np.where(z < 40.0, np.abs(z), 0.0))),
}
_FORMULA_ROUNDINGS = 16.0
"""What a formula from outside may err by: values and slopes, relative to themselves."""


@dataclass(frozen=True, slots=True)
class UnitRounding:
    """A layer at given activities, and what each number may be off by."""

    driven: Batch  # φᶦⁿ(z_{l-1}), what the affine map sees
    inherited: float  # how many roundings each entry of that brings along
    potential: Batch  # A_l u + b_l before any pooling
    spread: Batch  # its standard deviation
    alike: Batch  # the root of how many potentials are the same inner product
    value_std: Batch  # of f_l(z_{l-1})
    error: Batch  # e_l, 0 where the precision is
    error_std: Batch  # the rounding of adding it to f_l included
    force: Batch  # (π e)_l
    force_std: Batch
    back: Batch  # (∂f_l/∂a)ᵀ (π e)_l, one entry a potential
    back_std: Batch
    flips: Batch  # what a kink or a tie within rounding may change of back, at most
    # What inherited may add along one direction, of e_l and (π e)_l
    shared: Float[np.ndarray, " N"]


def unit_roundings(
    network: Layered, activities: Sequence[Batch], u: float, precision: Precision | None
) -> list[UnitRounding]:
    """Evaluate every layer at ``z_0 … z_L``; the precision is of the outputs."""
    pairs = enumerate(pairwise(activities), start=1)
    return [
        _unit_rounding(
            network, l, below, above, of_both(u), precision if l == network.depth else None
        )
        for l, (below, above) in pairs
    ]


def _unit_rounding(
    network: Layered, l: int, below: Batch, above: Batch, u: float, precision: Precision | None
) -> UnitRounding:
    before, after = network.activations(l)
    linear, driven, inherited = network.linear(l), activate(before, below), _value_roundings(before)
    bias = None if network.biases is None else network.biases[l - 1]
    rows, columns = linear.rows(driven), linear.columns
    potential, variance = map(linear.by_sample, rounded_product(rows, columns, bias, inherited))
    spread = np.sqrt(variance)
    at_kink = (np.abs(potential) < CONFIDENCE * u * spread) & (after in JUMP)
    steepest = np.where(at_kink, 1.0, np.abs(activation_slope(after, potential)))
    value = activate(after, potential)
    each_std = np.hypot(steepest * spread, _value_roundings(after) * value)
    made_of = columns.T if bias is None else np.concatenate([columns.T, bias[:, None]], axis=1)
    alike = np.sqrt(linear.by_sample(np.outer(_counts(rows), _counts(made_of))))

    maxima = _possible_maxima(network, l, value, each_std, u)
    largest_std = np.where(maxima, windows(network, l, each_std * alike), 0.0).max(axis=-1)
    value_std = largest_std.reshape(len(value), -1)
    error, force = weigh(above - pool_with(network, l, value, value), precision)
    weight = np.broadcast_to(1.0 if precision is None else np.asarray(precision), error.shape)
    # The error is rounded where it is z - f; a hidden activity, where it was made of f and e.
    made = above if l < network.depth else np.zeros_like(error)
    error_std = np.where(weight > 0, np.sqrt(value_std**2 + made**2 + error**2), 0.0)
    force_std = error_std if precision is None else np.hypot(weight * error_std, force)

    at = potential, spread, alike
    sent = _sent_back(network, l, *at, maxima, force, force_std, at_kink)
    shared = _shared(linear, rows, inherited, len(below)) * max(1.0, float(weight.max()))
    return UnitRounding(
        driven, inherited, *at, value_std, error, error_std, force, force_std, *sent, shared
    )


def with_force(
    network: Layered, l: int, unit: UnitRounding, force: Batch, doubt: Batch, off: Batch, u: float
) -> UnitRounding:
    """Return the layer with a force that does not come from its own error, as in backpropagation.

    ``force``, which is exact, pulls at ``f_l``; kinks above may change it by ``doubt`` at most.
    Each potential may be off by ``off``, in units of ``u``, by rounding below.
    """
    _, after = network.activations(l)
    potential, near = unit.potential, unit.spread + off
    # No more than one where it rises at all: pooling compares values, kinks potentials.
    at_kink = (np.abs(potential) < CONFIDENCE * u * near) & (after in JUMP)
    value, still = activate(after, potential), np.zeros_like(force)
    maxima = _possible_maxima(network, l, value, near, u)
    back, back_std, flips = _sent_back(
        network, l, potential, unit.spread, unit.alike, maxima, force, still, at_kink
    )
    steepest = np.where(at_kink, 1.0, np.abs(activation_slope(after, potential)))
    flips = flips + steepest * unpool(network, l, value, doubt)
    return replace(unit, force=force, force_std=still, back=back, back_std=back_std, flips=flips)


def _possible_maxima(network: Layered, l: int, value: Batch, std: Batch, u: float) -> Maxima:
    """Where the maximum of each pooling window may be, given values and standard deviations.

    A dense layer is made of windows of one entry.
    """
    values, stds = windows(network, l, value), windows(network, l, std)
    first = values.argmax(axis=-1)[..., None]
    largest, its_std = (np.take_along_axis(a, first, axis=-1) for a in (values, stds))
    possible: Maxima = largest - values < CONFIDENCE * u * (stds + its_std)
    np.put_along_axis(possible, first, True, axis=-1)
    return possible


def _sent_back(
    network: Layered,
    l: int,
    potential: Batch,
    spread: Batch,
    alike: Batch,
    maxima: Maxima,
    force: Batch,
    force_std: Batch,
    at_kink: Bool[np.ndarray, "_N _d"],
) -> tuple[Batch, Batch, Batch]:
    """``(∂f_l/∂a)ᵀ`` times a force, its standard deviation, and what flips may change of it."""
    _, after = network.activations(l)
    value, slope = activate(after, potential), activation_slope(after, potential)
    sent = unpool(network, l, value, force)
    back = slope * sent
    back_std = (
        np.abs(activation_curvature(after, potential) * sent) * spread * alike
        + np.abs(slope) * unpool(network, l, value, force_std)
        + slope_roundings(after, potential) * np.abs(sent) * alike
        + (0.0 if after == "identity" else np.abs(back))
    )
    # What each entry may lose or gain by a tie.
    tied = maxima & (maxima.sum(axis=-1, keepdims=True) > 1)
    moved = np.where(tied, np.abs(force).reshape(*tied.shape[:-1], 1), 0.0)
    flips = np.abs(sent) * np.where(at_kink, JUMP.get(after, 0.0), 0.0)
    flips += np.where(at_kink, 1.0, np.abs(slope)) * from_windows(network, l, moved)
    return back, back_std, flips


def _value_roundings(name: Activation) -> float:
    return _FORMULA_ROUNDINGS if isinstance(name, Formula) else _ROUNDINGS[name][0]


def slope_roundings(name: Activation, z: Batch) -> Batch:
    """Absolute error of ``φ'(z)`` in units of ``u``."""
    if isinstance(name, Formula):
        roundings: Batch = _FORMULA_ROUNDINGS * np.abs(name.at(z).slope)
        return roundings
    return _ROUNDINGS[name][1](z)


def _counts(rows: Rows) -> Float[np.ndarray, " _rows"]:
    """How often each row occurs."""
    rows = np.ascontiguousarray(rows + 0.0)  # there is a zero with a sign, which is equal
    whole = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, place, counts = np.unique(whole, return_inverse=True, return_counts=True)
    return counts[place.ravel()].astype(np.float64)


def _shared(
    linear: LinearMap, rows: Rows, inherited: float, samples: int
) -> Float[np.ndarray, " N"]:
    """What errors of the entries that ``A_l`` sees may do along one direction."""
    if not inherited:
        return np.zeros(samples)
    by_place = scaled_norm_bounds(np.abs(rows), linear.columns).reshape(samples, -1)
    largest: Float[np.ndarray, " N"] = by_place.max(axis=1)
    return inherited * linear.side * largest


def map_norm_bound(network: Layered, l: int) -> float:
    """Bound ``‖A_l‖_2``: a place of an image is seen by ``k²`` patches."""
    return network.linear(l).side * operator_norm_bound(network.linear(l).columns)


@dataclass(frozen=True, slots=True)
class PullRounding:
    """``(∂f_l/∂z)ᵀ (π e)_l`` at given activities, and what it may be off by."""

    pulled: Batch  # one entry a unit of z_{l-1}
    brought: Batch  # variance of what the forces at the potentials bring along
    own: Batch  # variance of pulling them
    reach: float  # how much longer a change of those forces may become, at most
    at_input: Batch  # A_lᵀ (∂f_l/∂a)ᵀ (π e)_l, not yet times φᶦⁿ'(z_{l-1})
    flips: Batch  # what kinks and ties within rounding may change of pulled, at most
    doubts: Batch  # the same of at_input


def pull_rounding(network: Layered, l: int, below: Batch, unit: UnitRounding) -> PullRounding:
    """Pull a layer's forces back to the activities below it."""
    before, _ = network.activations(l)
    columns, slope = network.linear(l).force_columns, activation_slope(before, below)

    def pulled_rows(forces: Batch, columns: Rows) -> Batch:
        return network.linear(l).by_sample(forces @ columns)

    at_input, variance = (
        network.linear(l).by_sample(rows)
        for rows in rounded_product(network.linear(l).rows(unit.back), columns)
    )
    pulled = slope * at_input
    last = 0.0 if before == "identity" else pulled**2
    # Units in doubt may all go the worse way at once: sizes are added, not squares.
    doubts = pulled_rows(network.linear(l).rows(unit.flips), np.abs(columns))
    return PullRounding(
        pulled,
        brought=slope**2 * pulled_rows(network.linear(l).rows(unit.back_std) ** 2, columns**2),
        own=slope**2 * variance + (at_input * slope_roundings(before, below)) ** 2 + last,
        reach=float(np.abs(slope).max(initial=0.0)) * map_norm_bound(network, l),
        at_input=at_input,
        flips=np.abs(slope) * doubts,
        doubts=doubts,
    )
