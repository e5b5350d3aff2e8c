r"""Steps of gradient descent and of Adam, and how far rounding may carry them (§4.5).

With a gradient ``g`` and the rate ``η``, a step moves parameters by ``-η φ``:

.. math::
    φ = g \quad \text{(gradient descent)}, \qquad
    φ = \hat m / (\sqrt{\hat v} + ε) \quad \text{(Adam, Kingma \& Ba 2015, algorithm 1)},

where after ``t`` gradients ``m̂ = Σ_k a_k g_k`` and ``v̂ = Σ_k b_k g_k²``, with weights ``a_k = (1
- β_1) β_1^{t-k} / (1 - β_1^t)`` and ``b_k`` likewise, each adding up to 1. A backend has gradients
that are off by ``δ_k``, of which norms are known.

**Adam is sensitive where gradients are small.** By Cauchy-Schwarz ``|m̂| ≤ C √v̂``, with ``C² =
Σ a_k²/b_k``, so that no entry of ``φ`` exceeds ``C``. Errors ``d_k`` of the gradients of one entry
change ``√v̂``, a weighted norm of them, by no more than ``q = (Σ_k b_k d_k²)^{1/2}``, and ``m̂`` by
no more than ``C q``; and as

.. math:: φ' - φ = \frac{(\hat m' - \hat m) - φ' (D' - D)}{D}, \qquad D = \sqrt{\hat v} + ε ,

``|φ' - φ| ≤ 2C min(1, q/D)``. All entries share ``Σ_i q_i² ≤ Σ_k b_k ‖δ_k‖²``. The worst that this
can buy is to spend it on the entries with the least ``D``: each costs ``D²`` and moves by ``2C``.

**Platforms may flush what is below a smallest number** ``t`` (``underflow.py``): the scaled
gradient, a change and the difference from its parameter by ``t`` each, and a parameter that is that
small itself. Of a moment it is the products and the sum of every step; weighted by its decay, and
its bias corrected, ``m̂`` loses up to ``t (3/(1-β_1) + 1)``, and ``v̂``, with the square,
``t (4/(1-β_2) + 1)``. A root loses ``s = min(√l, l/√v̂)`` when what it is of loses ``l``, and
``m̂/D`` is then off by up to ``(|m̂| s/D + δm) / max(ε, D - s) + t``.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pcbench.theory.rounding.bounds import FLOAT64
from pcbench.theory.rounding.summation import norm_bound
from pcbench.theory.rounding.underflow import SMALLEST

Array = Float[np.ndarray, "..."]

# Scale, rate, and a product with each; the difference from the parameters is counted apart.
_UPDATE_ROUNDINGS = 4
# Of a moment, by every step: its decay, one less its decay, a product with each, their sum; the
# square of the gradient.
_MOMENT_ROUNDINGS = 6
# Corrections of both moments, a root, a sum, a quotient, and what makes them.
_ADAM_ROUNDINGS = 8


class GradientDescent:
    """Takes the gradients of one array of parameters, step after step: ``θ ← θ - η g``.

    ``rate`` is ``η``, and ``scale`` what gradients are multiplied by first.
    """

    def __init__(self, rate: float, scale: float = 1.0) -> None:
        self.rate, self.scale = rate, scale

    def step(
        self, before: Array, gradient: Array, gradient_off: float, u: float, terms: int = 1
    ) -> tuple[Array, float]:
        """Return the parameters after a step, and a bound on how far off they may be.

        ``gradient`` is not scaled, and a backend's off by up to ``gradient_off``. A change may be
        added to its parameter in so many ``terms``, one after the other: as many as a product has
        that is added in place. Norms are Frobenius norms.
        """
        both = u + FLOAT64
        flushed = SMALLEST * float(np.sqrt(before.size))
        off = self.scale * gradient_off + flushed
        update, update_off = self._update(self.scale * gradient, off, both)
        change, change_off = self.rate * update, self.rate * update_off
        after = before - change
        change_off += _UPDATE_ROUNDINGS * both * float(np.linalg.norm(change))
        added = _added(after, change, change_off, u) if terms == 1 else 0.0
        if terms > 1:
            # Each is rounded to the last digit of the parameter, evenly within half of it.
            variance = (terms + 1) / 3 * after**2
            added = both * norm_bound(float(np.sum(variance)), float(np.max(variance)))
        return after, change_off + added + (1 + 2 * terms) * flushed

    def _update(self, gradient: Array, off: float, u: float) -> tuple[Array, float]:
        """``φ``, and a bound on what it may be off by, of a gradient that is scaled."""
        return gradient, off


def _added(after: Array, change: Array, change_off: float, u: float) -> float:
    """Bound what adding a change at once may round: what is too small for the last digit is lost.

    The nearest number to the difference is no further from it than the parameter was. A backend may
    hold the change back, and the theory, in float64, be off the other way.
    """
    theirs, ours = (np.minimum(unit * np.abs(after), np.abs(change)) for unit in (u, FLOAT64))
    # And what the change is off by is lost once more, or added.
    lost = min(change_off, (u + FLOAT64) * float(np.linalg.norm(after)))
    return float(np.linalg.norm(theirs + ours)) + lost


class AdamSteps(GradientDescent):
    """``θ ← θ - η m̂/(√v̂ + ε)``.

    The whole history is kept and weighted anew: no moment is carried from step to step, as
    backends carry it. If the mean remembered and the mean square did not, their quotient would have
    no bound.
    """

    def __init__(
        self, rate: float, scale: float, beta_1: float, beta_2: float, epsilon: float
    ) -> None:
        super().__init__(rate, scale)
        if beta_1 > beta_2 == 0:
            raise ValueError("with beta_2 = 0, steps of Adam are bounded only with beta_1 = 0")
        self._decays, self._epsilon = (beta_1, beta_2), epsilon
        # Scaled gradients so far, and bounds on the norms of what they are off by.
        self._gradients: list[Array] = []
        self._off: list[float] = []

    def _update(self, gradient: Array, off: float, u: float) -> tuple[Array, float]:
        self._gradients.append(gradient)
        self._off.append(off)
        a, b = (_weights(decay, len(self._off)) for decay in self._decays)
        m = sum((weight * g for weight, g in zip(a, self._gradients, strict=True)), 0 * gradient)
        v = sum((weight * g**2 for weight, g in zip(b, self._gradients, strict=True)), 0 * gradient)
        denominator = np.sqrt(v) + self._epsilon
        reach = float(np.sqrt(np.sum(a[a > 0] ** 2 / b[a > 0])))  # C
        budget = float(np.sum(b * np.square(self._off)))
        # Where all gradients are exactly zero, so are all their terms: inputs that are zero, units
        # that are asleep. Nothing rounds there.
        awake = denominator[v > 0]
        roundings = _MOMENT_ROUNDINGS * len(self._off) + _ADAM_ROUNDINGS
        # Relative to sums of terms of one sign, which are at most C √v̂.
        rounded = roundings * u * 2 * reach * float(np.linalg.norm(np.sqrt(v) / denominator))
        off = 2 * reach * float(np.sqrt(_bought(awake, budget))) + rounded
        return m / denominator, off + self._flushed(np.abs(m), v)

    def _flushed(self, m: Array, v: Array) -> float:
        """Bound what is lost of numbers too small for moments to keep, Frobenius norm."""
        lost_m, lost_v = (
            SMALLEST * (products / (1 - decay) + 1)
            for products, decay in zip((3, 4), self._decays, strict=True)
        )
        awake = v > 0  # nothing is lost of zeros
        m, root = m[awake], np.sqrt(v[awake])
        lost_root = np.minimum(np.sqrt(lost_v), lost_v / np.maximum(root, np.sqrt(lost_v)))
        denominator = root + self._epsilon
        least = np.maximum(self._epsilon, denominator - lost_root)
        off = (m * lost_root / denominator + lost_m) / least + SMALLEST
        return float(np.linalg.norm(off))


def _weights(decay: float, steps: int) -> Float[np.ndarray, " t"]:
    """Return what each gradient counts for, oldest first, with the bias corrected."""
    if decay == 0:
        return np.append(np.zeros(steps - 1), 1.0)
    weights: Float[np.ndarray, " t"] = decay ** np.arange(steps - 1.0, -1.0, -1.0)
    return weights * (1 - decay) / (1 - decay**steps)


def _bought(denominators: Array, budget: float) -> float:
    """``max Σ_i min(1, q_i²/D_i²)`` subject to ``Σ_i q_i² ≤ budget``: the least ``D`` first."""
    costs = np.sort(denominators.ravel() ** 2)
    paid = np.cumsum(costs)
    whole = int(np.searchsorted(paid, budget, side="right"))
    if whole == len(costs):
        return float(whole)
    spent = float(paid[whole - 1]) if whole else 0.0
    return whole + (budget - spent) / float(costs[whole])
