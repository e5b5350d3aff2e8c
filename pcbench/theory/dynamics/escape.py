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
"""

from __future__ import annotations

from fractions import Fraction
from math import log1p

import numpy as np
from jaxtyping import Float

from pcbench.theory.linear.origin import Objective


def escape_rates(
    x: Float[np.ndarray, "N d_0"], y: Float[np.ndarray, "N d_L"], layers: int, objective: Objective
) -> Float[np.ndarray, " d"]:
    """Return the rates at which directions leave the origin of a linear network, descending.

    Minus the negative eigenvalues of the Hessian there, multiplicities left out. For ``L > 2``
    those of ``Σ_yy`` for the energy, and none for the loss. For ``L = 2`` those of
    ``[[0, Σ_xy], [Σ_yx, Σ_yy]]`` that are positive, without ``Σ_yy`` for the loss. The first is
    ``ρ``; how far the next is below it says how soon the first is alone. Rates that rounding does
    not tell apart are one.

    Raises
    ------
    ValueError
        If there is no hidden layer, ``L < 2``.
    """
    _require_hidden(layers)
    small = y.T @ y / len(y) if objective == "energy" else np.zeros((y.shape[1],) * 2)
    if layers == 2:
        cross = x.T @ y / len(x)
        small = np.block([[np.zeros((x.shape[1],) * 2), cross], [cross.T, small]])
    eigenvalues = np.linalg.eigvalsh(small)[::-1]
    # Of N products a term, and of the eigensolver.
    rounding = (len(x) + len(small)) * np.finfo(np.float64).eps * np.abs(eigenvalues).max()
    rates = eigenvalues[eigenvalues > rounding]
    apart = np.append(True, -np.diff(rates) > rounding)
    return np.asarray(rates[apart[: len(rates)]])


def leading_share(x: Float[np.ndarray, "N d_0"], y: Float[np.ndarray, "N d_L"]) -> float:
    """Return the largest part of the loss at the origin that a network of rank 1 can take away.

    The laws are about the first direction to leave. Where an escape asks for more than that, others
    have to leave too, at rates of their own. By the theorem of Eckart and Young for the best linear
    predictions.
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

    Raises
    ------
    ValueError
        If there is no hidden layer, ``L < 2``.
    """
    _require_hidden(layers)
    return layers - 2


def logarithmic_exponent(layers: int) -> Fraction:
    """Return ``κ``, the power of ``ln(1/σ)`` in which gradient descent on ``𝓕*`` halves the loss.

    1 for ``L = 2``, 4/3 for ``L = 3``, and ``L - 2`` beyond.

    Raises
    ------
    ValueError
        If there is no hidden layer, ``L < 2``.
    """
    _require_hidden(layers)
    return {2: Fraction(1), 3: Fraction(4, 3)}.get(layers, Fraction(layers - 2))


def _require_hidden(layers: int) -> None:
    if layers < 2:
        raise ValueError("the origin is a saddle of networks with at least one hidden layer")
