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

Nothing is drawn here, and no probe could be too small: all is a formula in ``u``, of numbers that
the judge needs to a factor of two only. Whoever draws errors of these sizes (the forward and the
backward pass) has standard deviations of ``√2`` or more of every number that is made, times a probe
that is ``2^23`` times float64's roundoff. What vanishes there beside another number, such as a
product of tiny weights beside a bias, is that much less than what that number rounds by itself,
which is counted with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from pcbench.theory.nonlinear.curvature import activation_curvature
from pcbench.theory.nonlinear.layered import (
    LEAK,
    Activation,
    Batch,
    Layered,
    Precision,
    activate,
    activation_slope,
    weigh,
)
from pcbench.theory.nonlinear.taylor import Formula
from pcbench.theory.nonlinear.unfolding import (
    Rows,
    by_sample,
    force_columns,
    force_rows,
    map_norm_bound,
    seen_columns,
    seen_rows,
)
from pcbench.theory.rounding.bounds import CONFIDENCE
from pcbench.theory.rounding.concentration import scaled_norm_bounds
from pcbench.theory.rounding.pooling import Pool
from pcbench.theory.rounding.summation import rounded_product

JUMP: Mapping[Activation, float] = {"relu": 1.0, "leaky_relu": 1 - LEAK}
"""How far the slope jumps at the kink of an activation that has one."""

# Relative error of a value in units of u. Libraries keep tanh and the logistic function within 4
# units in the last place, 8 u (NumPy 4, CUDA 2, SLEEF 1); SiLU multiplies once more, and a leaky
# rectifier rounds its leak, too.
_VALUE_ROUNDINGS = {"identity": 0.0, "tanh": 8.0, "relu": 0.0, "leaky_relu": 2.0, "silu": 9.0}

_FORMULA_ROUNDINGS = 16.0
"""What a formula from outside may err by: values and slopes, relative to themselves."""

# Beyond it the logistic function is 1 in either dtype, and what it lacks of 1 nothing at all.
_SETTLED = 40.0

# The judge computes in float64 whatever the backend does, and errs too.
_JUDGE = 2.0**-53


@dataclass(frozen=True, slots=True)
class UnitRounding:
    """A layer at given activities, and what each number may be off by.

    Attributes
    ----------
    driven, inherited
        ``φᶦⁿ(z_{l-1})``, what the affine map sees, and how many roundings each entry brings along.
    value_std
        Of ``f_l(z_{l-1})``.
    error, error_std
        ``e_l``, 0 where the precision is; the rounding of adding it to ``f_l`` included.
    force, force_std
        ``(π e)_l``.
    back, back_std
        ``(∂f_l/∂a)ᵀ (π e)_l``, one entry a potential.
    flips
        What a kink or a tie within rounding may change of ``back``, at most, entry by entry.
    shared
        What ``inherited`` may add to the standard deviation of ``e_l`` and ``(π e)_l`` along one
        direction, one a sample: all units see the same entries.
    """

    driven: Batch
    inherited: float
    value_std: Batch
    error: Batch
    error_std: Batch
    force: Batch
    force_std: Batch
    back: Batch
    back_std: Batch
    flips: Batch
    shared: Float[np.ndarray, " N"]


def of_both(u: float) -> float:
    """Return the roundoff of a difference: the judge, in float64, rounds as the judged does."""
    return float(np.hypot(u, _JUDGE))


def unit_roundings(
    network: Layered, activities: Sequence[Batch], u: float, precision: Precision | None
) -> list[UnitRounding]:
    """Evaluate every layer at ``z_0 … z_L``; the precision is of the outputs."""
    last = network.depth
    return [
        _unit_rounding(
            network,
            l,
            activities[l - 1],
            activities[l],
            of_both(u),
            precision if l == last else None,
        )
        for l in range(1, last + 1)
    ]


def _unit_rounding(
    network: Layered, l: int, below: Batch, above: Batch, u: float, precision: Precision | None
) -> UnitRounding:
    before, after = network.activations(l)
    driven, inherited = activate(before, below), _value_roundings(before)
    potential, spread = _potential(network, l, driven, inherited)
    at_kink = (np.abs(potential) < CONFIDENCE * u * spread) & (after in JUMP)
    slope = activation_slope(after, potential)
    steepest = np.where(at_kink, 1.0, np.abs(slope))
    value = activate(after, potential)
    value_std = np.hypot(steepest * spread, _value_roundings(after) * value)
    alike = np.sqrt(_copies(network, l, driven))

    pool = Pool.of(network, l, value, value_std, alike, u)
    error, force = weigh(above - pool.value, precision)
    weight = _weights(error, precision)
    # The error is rounded where it is z - f; a hidden activity, where it was made of f and e.
    made = above if l < network.depth else np.zeros_like(error)
    error_std = np.where(weight > 0, np.sqrt(pool.value_std**2 + made**2 + error**2), 0.0)
    force_std = error_std if precision is None else np.hypot(weight * error_std, force)

    back, back_std, flips = _sent_back(
        after, potential, spread, alike, pool, force, force_std, at_kink
    )
    return UnitRounding(
        driven,
        inherited,
        pool.value_std,
        error,
        error_std,
        force,
        force_std,
        back,
        back_std,
        flips,
        _shared(network, l, driven, inherited) * max(1.0, float(weight.max())),
    )


def with_force(
    network: Layered,
    l: int,
    below: Batch,
    unit: UnitRounding,
    force: Batch,
    doubt: Batch,
    off: Batch,
    u: float,
) -> UnitRounding:
    """Return the layer with a force that does not come from its own error, as in backpropagation.

    Parameters
    ----------
    network, l, below, unit
        The layer at ``z_{l-1}``.
    force
        What pulls at ``f_l``, itself exact.
    doubt
        What kinks above may change of it, at most.
    off
        How far rounding below may have carried each potential, in units of ``u``.
    u
        The unit roundoff.
    """
    before, after = network.activations(l)
    driven, inherited = activate(before, below), _value_roundings(before)
    potential, spread = _potential(network, l, driven, inherited)
    value, alike = activate(after, potential), np.sqrt(_copies(network, l, driven))
    # No more than one where it rises at all: pooling compares values, kinks potentials.
    near = spread + off
    at_kink = (np.abs(potential) < CONFIDENCE * u * near) & (after in JUMP)
    pool = Pool.of(network, l, value, near, alike, u)
    still = np.zeros_like(force)
    back, back_std, flips = _sent_back(after, potential, spread, alike, pool, force, still, at_kink)
    passed = np.where(at_kink, 1.0, np.abs(activation_slope(after, potential))) * pool.send(doubt)
    return replace(
        unit, force=force, force_std=still, back=back, back_std=back_std, flips=flips + passed
    )


def _sent_back(
    after: Activation,
    potential: Batch,
    spread: Batch,
    alike: Batch,
    pool: Pool,
    force: Batch,
    force_std: Batch,
    at_kink: Bool[np.ndarray, "_N _d"],
) -> tuple[Batch, Batch, Batch]:
    """``(∂f_l/∂a)ᵀ`` times a force, its standard deviation, and what flips may change of it."""
    sent, slope = pool.send(force), activation_slope(after, potential)
    steepest = np.where(at_kink, 1.0, np.abs(slope))
    back = slope * sent
    back_std = (
        np.abs(activation_curvature(after, potential) * sent) * spread * alike
        + np.abs(slope) * pool.send(force_std)
        + slope_roundings(after, potential) * np.abs(sent) * alike
        + (0.0 if after == "identity" else np.abs(back))
    )
    flips = np.abs(sent) * np.where(at_kink, JUMP.get(after, 0.0), 0.0) + pool.flips(
        np.abs(force), steepest
    )
    return back, back_std, flips


def _value_roundings(name: Activation) -> float:
    return _FORMULA_ROUNDINGS if isinstance(name, Formula) else _VALUE_ROUNDINGS[name]


def slope_roundings(name: Activation, z: Batch) -> Batch:
    """Absolute error of ``φ'(z)`` in units of ``u``, as it is made of the value.

    ``1 - t²`` errs by ``2 t δt``, by the square and by the difference; SiLU's ``g + z g (1 - g)``
    by the logistic ``g`` in each place.
    """
    match name:
        case Formula():
            roundings: Batch = _FORMULA_ROUNDINGS * np.abs(name.slope(z))
        case "tanh":
            roundings = 2 * _VALUE_ROUNDINGS[name] * np.tanh(z) ** 2 + 1
        case "silu":
            gate, unsettled = expit(z), np.where(z < _SETTLED, np.abs(z), 0.0)
            roundings = 2 * _VALUE_ROUNDINGS[name] * gate * (1 + unsettled)
        case "leaky_relu":
            roundings = np.where(z > 0, 0.0, LEAK)
        case _:
            roundings = np.zeros_like(z)
    return roundings


def _potential(network: Layered, l: int, driven: Batch, inherited: float) -> tuple[Batch, Batch]:
    """``A_l u + b_l`` and its standard deviation, before any pooling."""
    bias = None if network.biases is None else network.biases[l - 1]
    rows = seen_rows(network, l, driven)
    value, variance = rounded_product(rows, seen_columns(network, l), bias, inherited)
    return by_sample(network, l, value), by_sample(network, l, np.sqrt(variance))


def _copies(network: Layered, l: int, driven: Batch) -> Batch:
    """How many potentials are the same inner product, the one at hand included."""
    weight = network.weights[l - 1]
    columns = weight.reshape(len(weight), -1)
    if network.biases is not None:
        columns = np.concatenate([columns, network.biases[l - 1][:, None]], axis=1)
    seen, units = _counts(seen_rows(network, l, driven)), _counts(columns)
    return by_sample(network, l, np.outer(seen, units))


def _counts(rows: Rows) -> Float[np.ndarray, " _rows"]:
    """How often each row occurs."""
    rows = np.ascontiguousarray(rows + 0.0)  # there is a zero with a sign, which is equal
    whole = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, place, counts = np.unique(whole, return_inverse=True, return_counts=True)
    return counts[place.ravel()].astype(np.float64)


def _shared(network: Layered, l: int, driven: Batch, inherited: float) -> Float[np.ndarray, " N"]:
    """What errors of the entries that ``A_l`` sees may do along one direction.

    Every entry of an image is seen by up to ``k²`` places.
    """
    if not inherited:
        return np.zeros(len(driven))
    rows = np.abs(seen_rows(network, l, driven))
    by_place = scaled_norm_bounds(rows, seen_columns(network, l)).reshape(len(driven), -1)
    seen = network.weights[l - 1].shape[-1] if network.is_convolution(l) else 1
    largest: Float[np.ndarray, " N"] = by_place.max(axis=1)
    return inherited * seen * largest


def _weights(error: Batch, precision: Precision | None) -> Batch:
    weight = 1.0 if precision is None else np.asarray(precision, np.float64)
    return np.broadcast_to(weight, error.shape)


@dataclass(frozen=True, slots=True)
class PullRounding:
    """``(∂f_l/∂z)ᵀ (π e)_l`` at given activities, and what it may be off by.

    Attributes
    ----------
    pulled
        One entry a unit of ``z_{l-1}``.
    brought, own
        Variances: of what the forces at the potentials bring along, and of pulling them.
    reach
        How much longer a change of those forces may become, at most.
    at_input
        ``A_lᵀ (∂f_l/∂a)ᵀ (π e)_l``, not yet times ``φᶦⁿ'(z_{l-1})``.
    flips
        What kinks and ties within rounding may change of ``pulled``, at most, entry by entry.
    doubts
        The same of ``at_input``.
    """

    pulled: Batch
    brought: Batch
    own: Batch
    reach: float
    at_input: Batch
    flips: Batch
    doubts: Batch


def pull_rounding(network: Layered, l: int, below: Batch, unit: UnitRounding) -> PullRounding:
    """Pull a layer's forces back to the activities below it."""
    before, _ = network.activations(l)
    columns, slope = force_columns(network, l), activation_slope(before, below)

    def pulled_rows(forces: Batch, columns: Rows) -> Batch:
        return by_sample(network, l, forces @ columns)

    at_input, variance = (
        by_sample(network, l, rows)
        for rows in rounded_product(force_rows(network, l, unit.back), columns)
    )
    pulled = slope * at_input
    last = 0.0 if before == "identity" else pulled**2
    # Units in doubt may all go the worse way at once: sizes are added, not squares.
    doubts = pulled_rows(force_rows(network, l, unit.flips), np.abs(columns))
    return PullRounding(
        pulled,
        brought=slope**2 * pulled_rows(force_rows(network, l, unit.back_std) ** 2, columns**2),
        own=slope**2 * variance + (at_input * slope_roundings(before, below)) ** 2 + last,
        reach=float(np.abs(slope).max(initial=0.0)) * map_norm_bound(network, l),
        at_input=at_input,
        flips=np.abs(slope) * doubts,
        doubts=doubts,
    )
