r"""The first steps of training, and how fast predictive coding leaves the origin (§2.7).

With equilibrium errors ``e_n = S^{-1} r_n`` of the output, ``A = W_{L-1:1}`` and ``M = I +
Σ_{l=2}^{L-1} W_{L-1:l} W_{L-1:l}^T``, the last activity is ``z_{L-1} = A x + M W_L^T e`` and

.. math::
    -\frac{∂𝓕^*}{∂W_L} = \frac1N Σ_n e_n z_{L-1,n}^T
    = Σ_{yy} W_L + (Σ_{ee} - Σ_{yy}) W_L M + Σ_{yy} W_L (M - I) + Σ_{ex} A^T ,

with ``Σ_ee = EᵀE/N`` and ``Σ_ex = EᵀX/N``. Near the origin of ``L > 2`` layers the first term is
the largest: it makes ``u^T W_L`` grow by ``1 + η λ`` a step, for an eigenvector ``u`` of ``Σ_yy``
with eigenvalue ``λ``. The others are a *departure*. As ``I ⪯ S``, with ``T = S - I``,

.. math::
    ‖E‖ ≤ ‖Y‖ + ‖X B^T‖, \qquad ‖E - Y‖ ≤ ‖T‖ ‖Y‖ + ‖X B^T‖, \qquad B = W_{L:1}

(spectral norms), so that in any row ``‖u^T (…)‖`` is at most

.. math::
    \frac{‖E-Y‖ (‖E‖ + ‖Y‖)}{N} ‖W_L‖ ‖M‖ + λ_{max} ‖W_L‖ ‖M - I‖ + \frac1N ‖E‖ ‖X A^T‖ .

Relative to ``‖u^T W_L‖`` that is of order ``σ^2 + σ^{L-2}`` for weights of scale ``σ``.

**Many steps.** With ``G_k = Π_{j<k} (I + η Σ_yy(j))``, one factor a batch, what is left over,
``R_k = W_L(k) - G_k W_L(0)``, follows ``R_{k+1} = (I + η Σ_yy(k)) R_k + η D_k`` with departures
``D_k``. They are bounded at weights that have moved: each ``W_l`` by ``δ_l`` at most, which grows
by ``η ‖∂𝓕*/∂W_l‖ ≤ η ‖W_{L:l+1}‖ ‖E‖ ‖Z_{l-1}‖/N``; a product of layers by no more than
``Π (‖W_l‖ + δ_l) - Π ‖W_l‖``. All of it starts from the weights at step 0: what training does is
not looked at.

Activations that bend change ``z_l`` at third order (tanh) or second (SiLU), and rectifiers at
first. None of that is bounded here: the law is held for linear networks only.

**Replays of the first steps.** In a linear network both gradients are closed forms (§2.1), and so
are steps of gradient descent: training is replayed here, in float64. A backend rounds at every
step, and begins the next one where that has led it. How far that carries the gradients is found by
replays that err: after each step every weight is off by up to ``u`` of itself, but by no more than
it moved (what rounds to the nearest number never rounds further), and its gradient by as much as
one gradient may be. Errors of all steps point one way, as those of weights do that move by less
than their last digit: in one replay they hold back all that moves, in the others their directions
are drawn. The largest change, times ``λ``, is the tolerance.

Errors of replays are ``2^-30`` of what they are added to, or less where ``S`` bears less
(``stochastic.py``). They vanish in float64 only beside weights that move by far less than what a
gradient at those weights rounds by itself. There is no bound from the step on at which ``S`` bears
no such error, weights are not finite, or an error has changed the product of all weights by more
than an eighth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import isnan, nan, prod

import numpy as np
from jaxtyping import Float
from numpy.linalg import norm

from pcbench.theory.arrays import (
    Inputs,
    Targets,
    WeightGradients,
    Weights,
    chains_from_output,
    chains_to_input,
    spectral_norm,
)
from pcbench.theory.linear.equilibrium import (
    equilibrated_energy_gradient,
    equilibrium_activities,
    loss_gradient,
    residuals,
)
from pcbench.theory.linear.saddles import Objective
from pcbench.theory.nonlinear.layered import Layered
from pcbench.theory.rounding.bounds import CONFIDENCE, FLOAT64
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.perturbation import (
    covariance_probe,
    equilibrium_rounding,
    loss_gradient_rounding,
)
from pcbench.theory.rounding.stochastic import PROBE, SMALL, allowed, draws, generator

Batch = tuple[Inputs, Targets]
Direction = Float[np.ndarray, " d_L"]


@dataclass(frozen=True, slots=True)
class Growth:
    """By how much ``‖uᵀ W_L‖`` has grown after some steps."""

    law: float  # to leading order: ‖uᵀ G_k W_L‖/‖uᵀ W_L‖
    off: float  # by the departures; infinite where the bound says nothing

    @property
    def interval(self) -> tuple[float, float]:
        """What it lies in."""
        return max(0.0, self.law - self.off), self.law + self.off


def top_direction(y: Targets) -> tuple[float, Direction]:
    """``λ_max(Σ_yy)`` and its eigenvector."""
    values, vectors = np.linalg.eigh(y.T @ y / len(y))
    return float(values[-1]), vectors[:, -1]


@np.errstate(over="ignore", invalid="ignore")  # far from the origin bounds overflow
def growth(weights: Weights, batches: Sequence[Batch], rate: float, u: Direction) -> list[Growth]:
    """Growth of ``‖uᵀ W_L‖`` by predictive coding with exact inference, after every step.

    Each step sees a batch; ``rate`` is ``η`` times the scale of gradients, ``u`` a unit vector. The
    network is linear, of two layers or more, and ``uᵀ W_L`` is not zero at step 0.
    """
    bounds, last = _Bounds(weights), weights[-1]
    start, norm_of_last = float(np.linalg.norm(u @ last)), float(np.linalg.norm(last, 2))
    amplified, left, found = np.eye(len(last)), 0.0, []
    for x, y in batches:
        sigma = y.T @ y / len(y)
        slopes, departure = bounds.seen(x, y)
        largest = float(np.linalg.eigvalsh(sigma)[-1])
        left = (1 + rate * largest) * left + rate * departure(largest)
        amplified = (np.eye(len(last)) + rate * sigma) @ amplified
        bounds.moved = [
            moved + rate * slope for moved, slope in zip(bounds.moved, slopes, strict=True)
        ]
        # Known better than by its own gradient: what the law says, and what it leaves.
        grown = float(np.linalg.norm(amplified - np.eye(len(last)), 2)) * norm_of_last
        bounds.moved[-1] = grown + left
        off = float(left / start) if np.isfinite(left) else np.inf
        found.append(Growth(float(np.linalg.norm(u @ amplified @ last)) / start, off))
    return found


def least_slope(weights: Weights, x: Inputs, y: Targets) -> float:
    """What ``‖∂𝓕*/∂W_L‖`` (Frobenius) is at least: ``‖Σ_yy W_L‖`` less the departures.

    Near the origin that is of the order of ``W_L`` itself: the gradient of predictive coding does
    not vanish there. Not positive where the bound says nothing.
    """
    sigma, (_, departure) = y.T @ y / len(y), _Bounds(weights).seen(x, y)
    largest, to_last = float(np.linalg.eigvalsh(sigma)[-1]), chains_to_input(weights)[-2]
    driven = float(np.linalg.norm(x @ to_last.T) / np.sqrt(len(x)))
    departs = departure(largest, float(np.linalg.norm(weights[-1])), driven)
    return float(np.linalg.norm(sigma @ weights[-1])) - departs


def vanishing_slopes(weights: Weights, x: Inputs, y: Targets) -> list[float]:
    """What ``‖∂𝓛/∂W_l‖`` (Frobenius) is at most: ``‖RᵀX/N‖ Π_{k≠l} ‖W_k‖_2``, one a layer.

    Of order ``σ^{L-1}`` for weights of scale ``σ``: near the origin backpropagation stands still.
    """
    moment = float(np.linalg.norm(residuals(weights, x, y).T @ x)) / len(x)
    norms = [spectral_norm(weight) for weight in weights]
    return [moment * prod(norms[:l] + norms[l + 1 :]) for l in range(len(norms))]


class _Bounds:
    """Spectral norms of layers and their products, at weights that have moved by up to ``δ_l``."""

    def __init__(self, weights: Weights) -> None:
        self._norms = [spectral_norm(weight) for weight in weights]
        self.moved = [0.0] * len(weights)
        self._to_input = chains_to_input(weights)
        self._output_norms = [spectral_norm(product) for product in chains_from_output(weights)]
        # W_{L-1:l}, l = 2 … L-1: what hidden errors reach the last hidden layer by.
        to_last = chains_from_output(weights[:-1])[1:-1]
        self._hidden_norms = [spectral_norm(product) for product in to_last]

    def seen(self, x: Inputs, y: Targets) -> tuple[list[float], Callable[..., float]]:
        """Bound what a batch sees, in spectral norms, of rows over ``√N``.

        Returns bounds on ``‖∂𝓕*/∂W_l‖``, and a function that bounds what ``-∂𝓕*/∂W_L`` has beside
        ``Σ_yy W_L``: of ``λ_max(Σ_yy)``, and of ``‖W_L‖`` and ``‖X W_{L-1:1}ᵀ‖``, which may be in
        another norm.
        """
        depth, root = len(self._norms), np.sqrt(len(x))
        inputs, targets = spectral_norm(x) / root, spectral_norm(y) / root
        driven = [
            spectral_norm(x @ product.T) / root + inputs * self._changed(0, l)
            for l, product in enumerate(self._to_input)
        ]
        reach = [
            norm + self._changed(l, depth) for l, norm in enumerate(self._output_norms)
        ]  # W_{L:l+1}
        hidden = [
            norm + self._changed(l, depth - 1) for l, norm in enumerate(self._hidden_norms, start=1)
        ]
        errors = targets + driven[-1]
        slopes, carried = [], inputs  # ‖Z_{l-1}‖/√N, from ‖X‖/√N
        for l in range(1, depth + 1):
            slopes.append(reach[l] * errors * carried)
            carried = driven[l] + sum(
                (self._product(j, l) * reach[j] * errors for j in range(1, l + 1)), start=0.0
            )
        # ‖E - Y‖ and ‖M - I‖
        apart = sum((norm**2 for norm in reach[1:-1]), start=0.0) * targets + driven[-1]
        spread = sum((norm**2 for norm in hidden), start=0.0)

        def departure(largest: float, last: float = reach[-2], driven: float = driven[-2]) -> float:
            by_errors: float = apart * (errors + targets) * last * (1 + spread)
            departs: float = by_errors + largest * last * spread + errors * driven
            return departs

        return slopes, departure

    def _product(self, first: int, last: int) -> float:
        """Bound a product of layers ``first + 1 … last`` by those of its factors."""
        pairs = zip(self._norms[first:last], self.moved[first:last], strict=True)
        return prod((norm + moved for norm, moved in pairs), start=1.0)

    def _changed(self, first: int, last: int) -> float:
        """Bound what the product of layers ``first + 1 … last`` has changed by."""
        return self._product(first, last) - prod(self._norms[first:last], start=1.0)


def first_steps(
    weights: Weights, batches: Sequence[Batch], rate: float, objective: Objective, u: float
) -> tuple[Float[np.ndarray, "K L"], Float[np.ndarray, "K L"]]:
    """Foretell the gradient norms of gradient descent in a linear network, before each update.

    Each step sees a batch; ``rate`` is ``η`` times the scale of gradients. The objective is
    ``loss`` for backpropagation, ``energy`` for predictive coding with exact inference. The norms
    are NaN where weights or ``S`` are beyond float64; what rounding of gradients, not of the norm
    itself, may do to them is infinite where float64 cannot tell.
    """
    rng, both = generator(), u + FLOAT64
    drawn: list[Sequence[Float[np.ndarray, "_out _inp"] | None]] = [
        [rng.standard_normal(weight.shape) for weight in weights]
        for _ in range(draws(min(weight.size for weight in weights)))
    ]
    drawn.append([None] * len(weights))
    path, probes, now = [], list[float](), list(weights)
    with np.errstate(over="ignore", invalid="ignore"):  # weights that leave the range are no error
        for x, y in batches:
            probes.append(_probe(now, objective))
            # As far as float64 has them; then no numbers.
            slopes = [np.full_like(weight, np.nan) for weight in now]
            if not isnan(probes[-1]):
                slopes = _gradient(now, x, y, objective)
            path.append((now, slopes))
            now = [weight - rate * slope for weight, slope in zip(now, slopes, strict=True)]
        norms = np.array([[norm(slope) for slope in slopes] for _, slopes in path])
    off = np.full_like(norms, np.inf)
    known = list(takewhile(lambda probe: not isnan(probe), probes))
    probe = min(known, default=PROBE)
    replays = [list(weights) for _ in drawn]
    for step in range(len(known)):
        (exact, slopes), (x, y) = path[step], batches[step]
        if not np.isfinite(norms[step]).all():
            break
        moved = [
            norm(ours - theirs) / norm(theirs)
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
            apart.append([float(norm(a - b)) for a, b in zip(erring, slopes, strict=True)])
            replays[index] = [
                _stepped(weight, rate * slope, rate * float(rounding), both, one, probe)
                for weight, slope, rounding, one in zip(
                    replays[index], erring, by_itself, noise, strict=True
                )
            ]
        off[step] = allowed(apart, both, probe) + by_itself
    return norms, off


def _probe(weights: Weights, objective: Objective) -> float:
    """Choose the size of errors that these weights bear; NaN where there is none."""
    if not all(np.isfinite(weight).all() for weight in weights):
        return nan
    return PROBE if objective == "loss" else covariance_probe(weights) or nan


def _gradient(weights: Weights, x: Inputs, y: Targets, objective: Objective) -> WeightGradients:
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
