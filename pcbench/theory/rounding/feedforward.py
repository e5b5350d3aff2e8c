r"""How far rounding may carry a forward pass, where every engine of inference starts (§4.4).

Unlike activities that are given, those of a forward pass carry the rounding of all layers below
them. What that does to the loss is known to first order: rounding of ``z_l`` by ``δ_l`` moves
``N𝓛`` by ``-⟨λ_l, δ_l⟩``, where backpropagation gives ``λ_l``. How far the activities go, and what
that makes of slopes, takes stochastic arithmetic, as in ``stochastic.py``: forward passes whose
every activity is perturbed by errors of the size that ``units.py`` derives. What is
evaluated at the activities, wherever they are, rounds as in ``layered.py``, too. What is flushed
to zero on the way (``underflow.py``) is drawn with it.

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

from pcbench.theory.arrays import Inputs, Targets
from pcbench.theory.nonlinear.layered import (
    Batch,
    Layered,
    Precision,
    backpropagated,
    feedforward,
    layer,
    pull_back,
)
from pcbench.theory.rounding.bounds import CONFIDENCE, of_both
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.stochastic import DRAWS, PROBES, SMALL, generator
from pcbench.theory.rounding.summation import norm_bound
from pcbench.theory.rounding.underflow import underflow
from pcbench.theory.rounding.units import JUMP, UnitRounding, pull_rounding, unit_roundings

PerSample = Float[np.ndarray, " N"]


@dataclass(frozen=True, slots=True)
class FeedforwardRounding:
    """Absolute bounds on the rounding of a forward pass and of what is evaluated after it.

    Attributes
    ----------
    loss
        On ``𝓛``.
    sample_losses
        On ``½ (y - ŷ)ᵀ π (y - ŷ)``, one a sample.
    residual, sample_residuals
        On ``‖∂(N𝓕)/∂z‖`` at the feedforward activities, of all samples and of each.
    activities
        On ``z_1 … z_{L-1}``, Frobenius norm over all of them.
    prediction
        On ``ŷ``, Frobenius norm.
    """

    loss: float
    sample_losses: tuple[float, ...]
    residual: float
    sample_residuals: tuple[float, ...]
    activities: float
    prediction: float


def feedforward_rounding(
    network: Layered, x: Inputs, y: Targets, u: float, precision: Precision | None = None
) -> FeedforwardRounding:
    """Bound the rounding, at unit roundoff ``u``, of a forward pass from ``x``."""
    forward = feedforward(network, x)
    activities = [*forward[:-1], y]
    there = layered_rounding(network, activities, u, precision)
    units = with_underflow(
        network, activities, unit_roundings(network, activities, u, precision), u
    )
    variances = _loss_variances(network, forward, units)
    # Float32's own size is used as it is: what it makes of activities is no small change.
    probes = [probe for probe in PROBES if probe > u] or [u]
    drawn = next(
        filter(None, (_draw(network, forward, units, probe, u, precision) for probe in probes)),
        None,
    )
    if drawn is None:
        each = (inf,) * len(x)
        return FeedforwardRounding(inf, each, inf, each, inf, inf)
    scale = CONFIDENCE * of_both(u)
    flips = _flips(network, forward, units, scale * drawn.last_hidden)
    second = (scale * drawn.outputs) ** 2 / 2
    sample_losses = there.sample_energies + scale * np.sqrt(variances) + second
    sample_residuals = there.sample_residuals + scale * drawn.sample_slopes + flips
    return FeedforwardRounding(
        loss=sum(there.energies)
        + (scale * float(np.sqrt(np.sum(variances))) + float(np.sum(second))) / len(x),
        sample_losses=tuple(sample_losses.tolist()),
        residual=there.residual + scale * drawn.slopes + float(np.linalg.norm(flips)),
        sample_residuals=tuple(sample_residuals.tolist()),
        activities=scale * drawn.activities,
        prediction=_evaluation(units[-1], of_both(u)) + scale * drawn.predictions,
    )


def with_underflow(
    network: Layered, activities: Sequence[Batch], units: Sequence[UnitRounding], u: float
) -> list[UnitRounding]:
    """Return layers whose activities may be flushed to zero, too, in units of ``u``."""
    lost = flushed(network, activities, u)
    return [replace(unit, value_std=np.hypot(unit.value_std, lost)) for unit in units]


def flushed(network: Layered, activities: Sequence[Batch], u: float) -> float:
    """What an activity or a force may be off by where it is flushed, in units of both roundings."""
    lost = underflow(
        network.weights, activities, forward=True, carried=False, steepest=network.steepest
    )
    return lost / of_both(u)


def _evaluation(last: UnitRounding, u: float) -> float:
    """Bound what the last layer by itself makes of exact activities."""
    along = np.hypot(last.value_std.max(axis=1), last.shared)
    total, worst = np.sum(last.value_std**2), np.max(along**2)
    return u * float(norm_bound(float(total), float(worst)))


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


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The largest changes seen, in units of the errors drawn.

    Attributes
    ----------
    activities, slopes
        Norms over all samples: of the hidden activities, and of ``∂(N𝓕)/∂z``.
    predictions
        The norm over all samples of ``ŷ``.
    outputs, sample_slopes
        Norms of every sample: of ``√π ŷ``, and of ``∂(N𝓕)/∂z``.
    last_hidden
        Of every unit that the last layer sees.
    """

    activities: float
    slopes: float
    predictions: float
    outputs: PerSample
    sample_slopes: PerSample
    last_hidden: Batch


def _draw(
    network: Layered,
    forward: list[Batch],
    units: list[UnitRounding],
    probe: float,
    u: float,
    precision: Precision | None,
) -> _Drawn | None:
    """Repeat the forward pass with errors, all draws as one batch; ``None`` if they grow large."""
    rng = generator()
    z, squares = _repeated(forward[0]), np.zeros(DRAWS)
    for l, unit in enumerate(units[:-1], start=1):
        errors = rng.standard_normal((len(z), unit.value_std.shape[1]))
        z = layer(network, l, z) + probe * _repeated(unit.value_std) * errors
        if probe > u and not is_small(network, [_repeated(forward[l])], [z]):
            return None
        squares += np.sum(_by_draw(z - _repeated(forward[l])) ** 2, axis=(1, 2)) / probe**2
    off = (layer(network, network.depth, z) - _repeated(forward[-1])) / probe
    weight = 1.0 if precision is None else np.asarray(precision, np.float64)
    weight = _repeated(np.broadcast_to(weight, forward[-1].shape))
    slopes = _slopes_apart(network, forward, units[-1], z, weight * off, probe)
    away = _by_draw(z - _repeated(forward[-2])) / probe
    return _Drawn(
        activities=float(np.sqrt(squares.max())),
        slopes=float(np.sqrt(np.sum(slopes**2, axis=(1, 2)).max())),
        predictions=float(np.sqrt(np.sum(_by_draw(off**2), axis=(1, 2)).max())),
        outputs=np.sqrt(_by_draw(weight * off**2).sum(axis=2)).max(axis=0),
        sample_slopes=np.linalg.norm(slopes, axis=2).max(axis=0),
        last_hidden=np.abs(away).max(axis=0),
    )


def is_small(network: Layered, exact: Sequence[Batch], erring: Sequence[Batch]) -> bool:
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
    force_off: Batch,
    probe: float,
) -> Float[np.ndarray, "draws N _d"]:
    """How far ``∂(N𝓕)/∂z`` at perturbed activities is from that of the forward pass.

    Kinks are not crossed here: crossing one is no small change, and is counted apart.
    """
    l, exact = network.depth, forward[-2]
    if l == 1:
        return np.zeros((DRAWS, len(exact), 1))
    kinked = network.activation in JUMP
    at = _repeated(exact) if kinked else z
    erring = pull_back(network, l, at, _repeated(last.force) - probe * force_off)
    return _by_draw((erring - _repeated(pull_back(network, l, exact, last.force))) / probe)


def _repeated(z: Batch) -> Batch:
    return np.tile(z, (DRAWS, 1))


def _by_draw(z: Batch) -> Float[np.ndarray, "draws N _d"]:
    return z.reshape(DRAWS, -1, z.shape[1])
