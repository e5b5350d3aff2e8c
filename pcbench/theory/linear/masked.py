r"""Equilibrium of deep linear networks whose outputs have precisions (§2.1, §2.2, generalised).

With ``r = y - W_{L:1} x`` the errors of any activities satisfy ``r = e_L + Σ_{l<L} W_{L:l+1} e_l``.
Of those, the energy ``½ Σ_{l<L} ‖e_l‖² + ½ e_Lᵀ Π e_L`` is least where, with a multiplier ``λ``,

.. math::
    e_l = W_{L:l+1}^T λ, \qquad Π e_L = λ, \qquad e_L = r - T λ, \qquad
    T = \sum_{l=2}^{L} W_{L:l} W_{L:l}^T = S - I .

Precisions may be 0, so ``Π`` is not inverted but split, ``Π = P²``: with ``λ = P v``, what is left
is ``(I + P T P) v = P r``, and the energy is ``½ (P r)ᵀ v``. Precisions of 1 give Theorem 1.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pcbench.theory.linear.activities import activities_from_errors
from pcbench.theory.linear.equilibrium import residuals
from pcbench.theory.linear.products import Weights, chains_from_output, solve
from pcbench.theory.nonlinear.layered import Precision, weigh


def masked_equilibrium(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    precision: Precision,
) -> tuple[list[Float[np.ndarray, "N _d"]], Float[np.ndarray, "N d_L"]]:
    """``z_0 … z_{L-1}`` and ``e_L`` at equilibrium.

    Parameters
    ----------
    weights, x, y
        The network and a batch; targets of precision 0 need not be numbers.
    precision
        Of each output, not negative; any shape that broadcasts to ``(N, d_L)``.

    Returns
    -------
    activities, output_errors
        An output of precision 0 has the error of a target equal to the feedforward prediction.
    """
    roots, r, v = _solved(weights, x, y, precision)
    multiplier = roots * v  # λ
    products = chains_from_output(weights)
    hidden_errors = [multiplier @ product for product in products[1:-1]]
    activities = activities_from_errors(weights[:-1], x, hidden_errors)
    return activities, r - multiplier @ _hidden_covariance(weights)


def masked_energy(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    precision: Precision,
) -> float:
    """``𝓕* = 1/(2N) Σ_n (P r)ᵀ (I + P T P)⁻¹ (P r)``: Theorem 1 with precisions."""
    roots, r, v = _solved(weights, x, y, precision)
    return float(np.sum(roots * r * v) / (2 * len(x)))


def masked_energy_gradient(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    precision: Precision,
) -> list[Float[np.ndarray, "_out _inp"]]:
    """``∂𝓕*/∂W_l`` for ``l = 1 … L``.

    By the envelope theorem the local gradients at equilibrium, ``-(1/N) e_lᵀ z_{l-1}``, where the
    last error is weighed, ``Π e_L = λ``; so that all of them are ``W_{L:l+1}ᵀ λ``.
    """
    roots, _, v = _solved(weights, x, y, precision)
    multiplier = roots * v  # λ
    products = chains_from_output(weights)
    activities, _ = masked_equilibrium(weights, x, y, precision)
    return [
        -(multiplier @ product).T @ below / len(x)
        for product, below in zip(products[1:], activities, strict=True)
    ]


def _solved(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    precision: Precision,
) -> tuple[Float[np.ndarray, "N d_L"], Float[np.ndarray, "N d_L"], Float[np.ndarray, "N d_L"]]:
    """Diagonals of ``P``; ``r``, 0 where the precision is; ``v``. One row a sample."""
    r, _ = weigh(residuals(weights, x, y), precision)
    roots = np.sqrt(np.broadcast_to(np.asarray(precision, np.float64), y.shape))
    hidden_covariance = _hidden_covariance(weights)
    v = np.empty_like(r)
    for n, root in enumerate(roots):
        matrix = np.eye(len(root)) + root[:, None] * hidden_covariance * root
        v[n] = solve(matrix, (root * r[n])[:, None])[:, 0]
    return roots, r, v


def _hidden_covariance(weights: Weights) -> Float[np.ndarray, "d_L d_L"]:
    """``T``, summed rather than ``S - I``, of which large precisions would magnify the rounding."""
    width = len(weights[-1])
    reach = chains_from_output(weights)[1:-1]
    return sum((product @ product.T for product in reach), start=np.zeros((width, width)))
