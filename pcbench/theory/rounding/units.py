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
are needed to a factor of two only. Where errors of these sizes are drawn (the forward and the
backward pass) they have standard deviations of ``√2`` or more of every number that is made, times a
probe that is ``2^23`` times float64's roundoff. What vanishes there beside another number, such as
a product of tiny weights beside a bias, is that much less than what that number rounds by itself,
which is counted with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from pcbench.theory.nonlinear.activations import (
    LEAK,
    Activation,
    Formula,
    activate,
    activation_curvature,
    activation_slope,
)
from pcbench.theory.nonlinear.layered import (
    Batch,
    Layered,
    Precision,
    Rows,
    Windows,
    from_windows,
    weigh,
    windows,
)
from pcbench.theory.rounding.bounds import CONFIDENCE, of_both
from pcbench.theory.rounding.summation import (
    operator_norm_bound,
    rounded_product,
    scaled_norm_bounds,
)


@dataclass(frozen=True, slots=True)
class Pool:
    """Max pooling in doubt; a dense layer is made of windows of one entry."""

    network: Layered
    l: int
    value: Batch  # the maxima
    value_std: Batch
    wins: Bool[np.ndarray, "_N _c _rows _columns _entries"]
    contends: Bool[np.ndarray, "_N _c _rows _columns _entries"]

    @classmethod
    def of(cls, network: Layered, l: int, value: Batch, std: Batch, alike: Batch, u: float) -> Pool:
        """Find the maxima of values with these standard deviations, in units of ``u``."""
        values, stds = _windows(network, l, value), _windows(network, l, std)
        first = values.argmax(axis=-1)[..., None]
        wins = np.zeros(values.shape, bool)
        np.put_along_axis(wins, first, True, axis=-1)
        largest, its_std = (np.take_along_axis(a, first, axis=-1) for a in (values, stds))
        contends = wins | (largest - values < CONFIDENCE * u * (stds + its_std))
        value_std = np.where(contends, stds * _windows(network, l, alike), 0.0).max(axis=-1)
        return cls(
            network,
            l,
            largest.reshape(len(value), -1),
            value_std.reshape(len(value), -1),
            wins,
            contends,
        )

    def send(self, force: Batch) -> Batch:
        """Return each force to where its maximum is."""
        return self._to(force, self.wins)

    def flips(self, force: Batch, steepest: Batch) -> Batch:
        """What each entry may lose or gain by a tie."""
        tied = self.contends.sum(axis=-1, keepdims=True) > 1
        changed: Batch = steepest * self._to(force, self.contends & tied)
        return changed

    def _to(self, force: Batch, entries: Bool[np.ndarray, "_N _c _rows _columns _e"]) -> Batch:
        spread = np.where(entries, force.reshape(*entries.shape[:-1], 1), 0.0)
        if self.network.is_convolution(self.l):
            return from_windows(self.network, self.l, spread)
        flat: Batch = spread.reshape(len(spread), -1)
        return flat


def _windows(network: Layered, l: int, z: Batch) -> Windows:
    if network.is_convolution(l):
        return windows(network, l, z)
    single: Windows = z.reshape(len(z), -1, 1, 1, 1)
    return single


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


@dataclass(frozen=True, slots=True)
class UnitRounding:
    """A layer at given activities, and what each number may be off by."""

    driven: Batch  # ``φᶦⁿ(z_{l-1})``, what the affine map sees
    inherited: float  # how many roundings each entry of that brings along
    potential: Batch  # ``A_l u + b_l`` before any pooling
    spread: Batch  # its standard deviation
    alike: Batch  # the root of how many potentials are the same inner product
    value_std: Batch  # of ``f_l(z_{l-1})``
    error: Batch  # ``e_l``, 0 where the precision is
    error_std: Batch  # the rounding of adding it to ``f_l`` included
    force: Batch  # ``(π e)_l``
    force_std: Batch
    back: Batch  # ``(∂f_l/∂a)ᵀ (π e)_l``, one entry a potential
    back_std: Batch
    flips: Batch  # what a kink or a tie within rounding may change of ``back``, at most
    # What ``inherited`` may add along one direction, of ``e_l`` and ``(π e)_l``
    shared: Float[np.ndarray, " N"]


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
        potential,
        spread,
        alike,
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
    unit: UnitRounding,
    force: Batch,
    doubt: Batch,
    off: Batch,
    u: float,
) -> UnitRounding:
    """Return the layer with a force that does not come from its own error, as in backpropagation.

    ``force``, which is exact, pulls at ``f_l``; kinks above may change it by ``doubt`` at most.
    Each potential may be off by ``off``, in units of ``u``, by rounding below.
    """
    _, after = network.activations(l)
    potential, spread, alike = unit.potential, unit.spread, unit.alike
    # No more than one where it rises at all: pooling compares values, kinks potentials.
    near = spread + off
    at_kink = (np.abs(potential) < CONFIDENCE * u * near) & (after in JUMP)
    pool = Pool.of(network, l, activate(after, potential), near, alike, u)
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
            roundings: Batch = _FORMULA_ROUNDINGS * np.abs(name.at(z).slope)
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
    rows = network.linear(l).rows(driven)
    value, variance = rounded_product(rows, network.linear(l).columns, bias, inherited)
    return network.linear(l).by_sample(value), network.linear(l).by_sample(np.sqrt(variance))


def _copies(network: Layered, l: int, driven: Batch) -> Batch:
    """How many potentials are the same inner product, the one at hand included."""
    weight = network.weights[l - 1]
    columns = weight.reshape(len(weight), -1)
    if network.biases is not None:
        columns = np.concatenate([columns, network.biases[l - 1][:, None]], axis=1)
    seen, units = _counts(network.linear(l).rows(driven)), _counts(columns)
    return network.linear(l).by_sample(np.outer(seen, units))


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
    rows = np.abs(network.linear(l).rows(driven))
    by_place = scaled_norm_bounds(rows, network.linear(l).columns).reshape(len(driven), -1)
    seen = network.weights[l - 1].shape[-1] if network.is_convolution(l) else 1
    largest: Float[np.ndarray, " N"] = by_place.max(axis=1)
    return inherited * seen * largest


def _weights(error: Batch, precision: Precision | None) -> Batch:
    weight = 1.0 if precision is None else np.asarray(precision, np.float64)
    return np.broadcast_to(weight, error.shape)


def map_norm_bound(network: Layered, l: int) -> float:
    """Bound ``‖A_l‖_2``: a place of an image is seen by ``k²`` patches."""
    seen = float(network.weights[l - 1].shape[-1]) if network.is_convolution(l) else 1.0
    return seen * operator_norm_bound(network.linear(l).columns)


@dataclass(frozen=True, slots=True)
class PullRounding:
    """``(∂f_l/∂z)ᵀ (π e)_l`` at given activities, and what it may be off by."""

    pulled: Batch  # one entry a unit of ``z_{l-1}``
    brought: Batch  # variance of what the forces at the potentials bring along
    own: Batch  # variance of pulling them
    reach: float  # how much longer a change of those forces may become, at most
    at_input: Batch  # ``A_lᵀ (∂f_l/∂a)ᵀ (π e)_l``, not yet times ``φᶦⁿ'(z_{l-1})``
    flips: Batch  # what kinks and ties within rounding may change of ``pulled``, at most
    doubts: Batch  # the same of ``at_input``


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
