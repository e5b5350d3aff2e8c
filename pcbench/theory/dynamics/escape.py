r"""How long it takes to leave the origin, as the scale ``σ`` of the initial weights shrinks (§2.7).

With ``Λ = ln(1/σ)``, ``L`` layers and a step ``η``, the steps until something has fallen by a given
fraction grow like

====================  =======================  =================================
what falls            under                    steps
====================  =======================  =================================
loss, ``L = 2``       gradient descent on 𝓛    ``Λ / ln(1 + η ρ)``
loss, ``L > 2``       gradient descent on 𝓛    ``σ^{-(L-2)}``
energy                gradient descent on 𝓕*   ``Λ / ln(1 + η ρ)``
loss                  gradient descent on 𝓕*   ``Λ^κ``; ``κ = 1, 4/3, 2, 3, …``
====================  =======================  =================================

``-ρ`` is the least eigenvalue of the objective's Hessian at the origin (Theorem 2, §2.4). Layers
above the last two grow one after another, and each slows those below it: hence ``κ``.

**Gradient descent in closed form (§2.1).** Loss and energy depend on the batch through its second
moments alone. With ``P = W_{L:1}``, the moment
``C = Σ_yy - P Σ_xy - (P Σ_xy)ᵀ + P Σ_xx Pᵀ`` of the residuals, ``G = P Σ_xx - Σ_yx`` and
``A = S⁻¹ C S⁻¹``,

.. math::
    𝓛 = ½ \operatorname{tr} C , \qquad
    \frac{∂𝓛}{∂W_l} = W_{L:l+1}^T \, G \, W_{l-1:1}^T ,

.. math::
    𝓕^* = ½ \operatorname{tr} S^{-1} C , \qquad
    \frac{∂𝓕^*}{∂W_l} = W_{L:l+1}^T \bigl( S^{-1} G \, W_{l-1:1}^T - A \, W_{L:l} \, M_l \bigr) ,

``M_1 = 0``, ``M_{l+1} = I + W_l M_l W_lᵀ``. Predictive coding with complete inference
is descent on ``𝓕*``, so this is what it does, step by step. Networks with an activation have no
such moments, and ``𝓛`` of all samples and its gradients come from backpropagation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import log1p

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Inputs, Targets, Units
from pcbench.theory.linear.saddles import Objective, origin_eigenvalues
from pcbench.theory.nonlinear.activations import Activation, activate, activation_slope


def escape_rates(
    x: Inputs, y: Targets, layers: int, objective: Objective
) -> Float[np.ndarray, " d"]:
    """Return the rates at which directions leave the origin of a linear network, descending.

    Minus the negative eigenvalues of the Hessian there, multiplicities left out; none of the loss
    for ``L > 2``. The first is ``ρ``; how far the next is below it says how soon the first is
    alone. Rates that rounding does not tell apart are one.
    """
    _require_hidden(layers)
    eigenvalues = -origin_eigenvalues(layers, x, y, objective)
    # Of N products a term, and of the eigensolver.
    rounding = (len(x) + len(eigenvalues)) * np.finfo(np.float64).eps * np.abs(eigenvalues).max()
    rates = eigenvalues[eigenvalues > rounding]
    apart = np.append(True, -np.diff(rates) > rounding)
    return np.asarray(rates[apart[: len(rates)]])


def leading_share(x: Inputs, y: Targets) -> float:
    """Return the largest part of the loss at the origin that a network of rank 1 can take away.

    Where an escape asks for more than the first direction, others have to leave too, at rates of
    their own. By the theorem of Eckart and Young for the best linear predictions.
    """
    best = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(np.linalg.norm(best, 2) ** 2 / np.linalg.norm(y) ** 2)


def steps_per_e_fold(rate: float, step: float) -> float:
    """Return ``1/ln(1 + η ρ)``: steps in which what grows at ``1 + η ρ`` a step grows by ``e``."""
    return 1 / log1p(step * rate)


def escape_exponent(layers: int) -> int:
    """Return ``L - 2``, the power of ``1/σ`` that backpropagation takes; 0 is a logarithm.

    Near the origin the loss is constant but for a form of degree ``L`` in the weights, and
    ``dw/dt ∝ w^{L-1}`` (Saxe, McClelland & Ganguli 2014, for ``L = 2``).
    """
    _require_hidden(layers)
    return layers - 2


def logarithmic_exponent(layers: int) -> Fraction:
    """Return ``κ``, the power of ``ln(1/σ)`` in which gradient descent on ``𝓕*`` halves the loss.

    1 for ``L = 2``, 4/3 for ``L = 3``, and ``L - 2`` beyond.
    """
    _require_hidden(layers)
    return {2: Fraction(1), 3: Fraction(4, 3)}.get(layers, Fraction(layers - 2))


def _require_hidden(layers: int) -> None:
    if layers < 2:
        raise ValueError("the origin is a saddle of networks with at least one hidden layer")


WeightStacks = list[Float[np.ndarray, "R _out _inp"]]
Products = list[Float[np.ndarray, "_ _m _n"]]
Standing = tuple[Float[np.ndarray, " R"], Float[np.ndarray, " R"], WeightStacks]
"""Where ``R`` replicas stand: losses, energies, and the gradients of an objective."""


def standing(
    x: Inputs, y: Targets, objective: Objective, activation: Activation = "identity"
) -> Callable[[WeightStacks], Standing]:
    """Return what says where replicas stand on a batch, in networks without biases.

    Of the loss, the energy is the loss. With an activation the loss alone is known: the objective
    ``energy`` raises a ``ValueError``.
    """
    if activation == "identity":
        moments = (x.T @ x / len(x), y.T @ x / len(x), y.T @ y / len(x))
        return partial(_of_moments, *moments, objective)
    if objective != "loss":
        raise ValueError("the equilibrated energy has a closed form in linear networks alone")
    return partial(_of_samples, x, y, activation)


def _of_samples(x: Inputs, y: Targets, activation: Activation, weights: WeightStacks) -> Standing:
    """Backpropagate. Without biases, pre- and post-activation networks have one loss."""
    driven: Products = [np.broadcast_to(x, (len(weights[0]), *x.shape))]
    potentials: Products = []
    for weight in weights:
        if potentials:
            driven.append(_by_row(activate, activation, potentials[-1]))
        potentials.append(driven[-1] @ weight.mT)
    force = potentials.pop() - y
    losses = np.sum(force**2, axis=(1, 2)) / (2 * len(x))
    gradients: WeightStacks = []
    for weight, below in zip(reversed(weights), reversed(driven), strict=True):
        gradients.insert(0, force.mT @ below / len(x))
        if potentials:
            slope = _by_row(activation_slope, activation, potentials.pop())
            force = slope * (force @ weight)
    return losses, losses, gradients


def _by_row(
    function: Callable[[Activation, Units], Units],
    activation: Activation,
    potentials: Float[np.ndarray, "R N _d"],
) -> Float[np.ndarray, "R N _d"]:
    rows = potentials.reshape(-1, potentials.shape[2])
    return function(activation, rows).reshape(potentials.shape)


def _of_moments(
    xx: Float[np.ndarray, "d_0 d_0"],
    yx: Float[np.ndarray, "d_L d_0"],
    yy: Float[np.ndarray, "d_L d_L"],
    objective: Objective,
    weights: WeightStacks,
) -> Standing:
    above: Products = [np.eye(len(yy))[None]]  # W_{L:l+1}, from l = L down to 0
    for weight in reversed(weights):
        above.append(above[-1] @ weight)
    above.reverse()
    product = above[0]
    off = product @ xx - yx
    predicted = product @ yx.T
    residual = yy - predicted - predicted.mT
    residual = residual + product @ xx @ product.mT
    losses = np.trace(residual, axis1=1, axis2=2) / 2
    if objective == "loss":
        return losses, losses, _pulled(weights, above, off)
    covariance = np.tile(np.eye(len(yy)), (len(weights[0]), 1, 1))
    covariance += sum(p @ p.mT for p in above[1:-1])
    # Of what has left float64's range nothing is asked, nor where an eigenvalue of 1 is lost in it.
    sound = np.trace(covariance, axis1=1, axis2=2) * np.finfo(float).eps < 1
    precision = np.full_like(covariance, np.nan)
    precision[sound] = np.linalg.inv(covariance[sound])
    scaled = precision @ residual
    gradients = _pulled(weights, above, precision @ off)
    spread = np.zeros((weights[0].shape[2],) * 2)  # M_l, here M_1
    for l, below in enumerate(weights[:-1], start=2):
        spread = np.eye(below.shape[1]) + below @ spread @ below.mT
        gradients[l - 1] -= above[l].mT @ scaled @ precision @ above[l - 1] @ spread
    return losses, np.trace(scaled, axis1=1, axis2=2) / 2, gradients


def _pulled(
    weights: WeightStacks, above: Products, off: Float[np.ndarray, "R d_L d_0"]
) -> WeightStacks:
    """Return ``W_{L:l+1}ᵀ off W_{l-1:1}ᵀ`` for every layer."""
    gradients = []
    for weight, product in zip(weights, above[1:], strict=True):
        gradients.append(product.mT @ off)
        off = off @ weight.mT
    return gradients


@dataclass(frozen=True, slots=True)
class Fallen:
    """Steps in which loss and energy of each replica fell; infinite where they did not.

    ``diverged_at`` is the step after which what a replica descends on had risen (:data:`RISE`),
    before both had fallen; infinite where it never did. Steps of descent that are short enough
    never rise, and after one that is too long rounding may decide what follows.

    Between the last step that was above a threshold and the first that was not, interpolated in the
    value: rounded up, it is the number of that first step.
    """

    loss: Float[np.ndarray, " R"]
    energy: Float[np.ndarray, " R"]
    diverged_at: Float[np.ndarray, " R"]


RISE = 0.05
"""Share of an objective's first value: a rise above its least value by more is never rounding."""


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def steps_to_fall(
    weights: WeightStacks,
    stand: Callable[[WeightStacks], Standing],
    *,
    step: float,
    fraction: float,
    max_steps: int,
) -> Fallen:
    """Descend until loss and energy have fallen by a fraction of what they began with.

    ``stand`` is of :func:`standing`; every step of size ``step`` sees the whole batch. A replica
    that has not fallen after ``max_steps - 1`` steps is given up, and so is one that has diverged.
    """
    alive = np.arange(len(weights[0]))
    fell, diverged_at = np.full((2, len(alive)), np.inf), np.full(len(alive), np.inf)
    thresholds = before = least = rise = np.empty(0)
    for taken in range(max_steps):
        losses, descended, gradients = stand(weights)
        values = np.stack([losses, descended])
        if not taken:
            thresholds, before = (1 - fraction) * values, values
            least, rise = descended, RISE * descended
        going = descended <= least + rise  # where it is NaN, it has risen
        diverged_at[alive[~going]] = taken
        least = np.fmin(least, descended)
        share = (before - thresholds) / (before - values) if taken else np.zeros_like(values)
        crossed = (values <= thresholds) & np.isinf(fell[:, alive])
        fell[:, alive] = np.where(crossed, max(taken - 1, 0) + share, fell[:, alive])
        on = np.isinf(fell[:, alive].max(axis=0))
        on &= going & np.isfinite(values).all(axis=0)
        if not on.any():
            break
        if not on.all():
            alive, thresholds, values = alive[on], thresholds[:, on], values[:, on]
            least, rise = least[on], rise[on]
            weights, gradients = [w[on] for w in weights], [g[on] for g in gradients]
        weights = [w - step * g for w, g in zip(weights, gradients, strict=True)]
        before = values
    loss, energy = fell
    return Fallen(loss, energy, diverged_at)
