r"""Theorem 1 of the paper: the energy of a deep linear network at equilibrium (§2.1).

.. math::
    𝓕^*(θ) = \frac{1}{2N} \sum_n r_n^T S^{-1} r_n, \qquad
    S = I + \sum_{l=2}^{L} W_{L:l} W_{L:l}^T, \qquad r_n = y_n - W_{L:1} x_n .

**Precisions of the outputs.** The errors of any activities satisfy ``r = e_L + Σ_{l<L} W_{L:l+1}
e_l``. Of those, the energy ``½ Σ_{l<L} ‖e_l‖² + ½ e_Lᵀ Π e_L`` is least where, with a multiplier
``λ``,

.. math::
    e_l = W_{L:l+1}^T λ, \qquad Π e_L = λ, \qquad e_L = r - T λ, \qquad
    T = \sum_{l=2}^{L} W_{L:l} W_{L:l}^T = S - I .

Precisions may be 0, so ``Π`` is not inverted but split, ``Π = P²``: with ``λ = P v``, what is left
is ``(I + P T P) v = P r``, and the energy is ``½ rᵀ λ``. Precisions of 1 give Theorem 1.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pcbench.theory.linear.products import Weights, chains_from_output, solve
from pcbench.theory.nonlinear.layered import Precision, weigh


def hidden_covariance(weights: Weights) -> Float[np.ndarray, "d_L d_L"]:
    """``T = S - I``, summed: of a difference, large precisions would magnify the rounding."""
    width = len(weights[-1])
    reach = chains_from_output(weights)[1:-1]
    return sum((product @ product.T for product in reach), start=np.zeros((width, width)))


def output_covariance(weights: Weights) -> Float[np.ndarray, "d_L d_L"]:
    """``S = I + Σ_{l=2}^{L} W_{L:l} W_{L:l}ᵀ``: the covariance that Theorem 1 gives the output."""
    covariance: Float[np.ndarray, "d_L d_L"] = np.eye(len(weights[-1])) + hidden_covariance(weights)
    return covariance


def residuals(
    weights: Weights, x: Float[np.ndarray, "N d_0"], y: Float[np.ndarray, "N d_L"]
) -> Float[np.ndarray, "N d_L"]:
    """``R = Y - X W_{L:1}ᵀ``: targets less feedforward predictions."""
    off: Float[np.ndarray, "N d_L"] = y - x @ chains_from_output(weights)[0].T
    return off


def loss(weights: Weights, x: Float[np.ndarray, "N d_0"], y: Float[np.ndarray, "N d_L"]) -> float:
    """``𝓛 = 1/(2N) Σ_n ‖r_n‖²``."""
    r = residuals(weights, x, y)
    return float(np.sum(r**2) / (2 * len(x)))


def loss_gradient(
    weights: Weights, x: Float[np.ndarray, "N d_0"], y: Float[np.ndarray, "N d_L"]
) -> list[Float[np.ndarray, "_out _inp"]]:
    """``∂𝓛/∂W_l = -(1/N) W_{L:l+1}ᵀ (RᵀX) W_{l-1:1}ᵀ`` for ``l = 1 … L``."""
    from_output = chains_from_output(weights)
    moved = residuals(weights, x, y).T @ x / len(x)  # RᵀX W_{l-1:1}ᵀ / N, l = 1
    gradients = []
    for l, weight in enumerate(weights, start=1):
        gradients.append(-from_output[l].T @ moved)
        moved = moved @ weight.T
    return gradients


def multipliers(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    precision: Precision | None = None,
) -> tuple[Float[np.ndarray, "N d_L"], Float[np.ndarray, "N d_L"]]:
    """``r``, 0 where the precision is, and ``λ``: the weighed error of the output at equilibrium.

    One row a sample; ``λ = S⁻¹ r`` where no precision is given.
    """
    r, _ = weigh(residuals(weights, x, y), precision)
    if precision is None:
        return r, solve(output_covariance(weights), r.T).T
    roots = np.sqrt(np.broadcast_to(np.asarray(precision, np.float64), y.shape))
    identity, covariance, multiplier = np.eye(y.shape[1]), hidden_covariance(weights), roots * r
    for n, root in enumerate(roots):
        matrix = identity + root[:, None] * covariance * root
        multiplier[n] = root * solve(matrix, multiplier[n][:, None])[:, 0]
    return r, multiplier


def equilibrated_energy(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    precision: Precision | None = None,
) -> float:
    """``𝓕* = 1/(2N) Σ_n r_nᵀ λ_n``: Theorem 1, with precisions.

    Parameters
    ----------
    weights, x, y
        The network and a batch; targets of precision 0 need not be numbers.
    precision
        Of each output, not negative; any shape that broadcasts to ``(N, d_L)``; 1 if not given.
    """
    r, multiplier = multipliers(weights, x, y, precision)
    return float(np.sum(r * multiplier) / (2 * len(x)))


def equilibrated_energy_gradient(
    weights: Weights,
    x: Float[np.ndarray, "N d_0"],
    y: Float[np.ndarray, "N d_L"],
    precision: Precision | None = None,
) -> list[Float[np.ndarray, "_out _inp"]]:
    """``∂𝓕*/∂W_l`` for ``l = 1 … L``, by differentiating Theorem 1's formula.

    No activity enters. With ``u_n = λ_n`` (rows of ``U``), ``S⁻¹ r_n`` without precisions, and
    ``P_k = W_{L:k}``::

        d𝓕* = 1/N Σ_n ( u_nᵀ dr_n - ½ u_nᵀ dS u_n ),   dr_n = -W_{L:l+1} dW_l W_{l-1:1} x_n,
        dS   = Σ_{k=2}^{l} ( W_{L:l+1} dW_l W_{l-1:k} P_kᵀ + its transpose ),

    hence ``∂𝓕*/∂W_l = -(1/N) W_{L:l+1}ᵀ [ UᵀX W_{l-1:1}ᵀ + UᵀU A_l ]`` with
    ``A_l = Σ_{k=2}^{l} P_k W_{l-1:k}ᵀ``, which grows by ``A_{l+1} = A_l W_lᵀ + P_{l+1}``.
    """
    from_output = chains_from_output(weights)
    _, u = multipliers(weights, x, y, precision)
    driven_by_input = u.T @ x / len(x)  # UᵀX W_{l-1:1}ᵀ / N
    second_moment = u.T @ u / len(x)  # UᵀU / N
    driven_by_errors = np.zeros_like(driven_by_input)  # A_l, and A_1 is an empty sum
    gradients = []
    for l, weight in enumerate(weights, start=1):
        gradients.append(-from_output[l].T @ (driven_by_input + second_moment @ driven_by_errors))
        driven_by_input = driven_by_input @ weight.T
        driven_by_errors = driven_by_errors @ weight.T + from_output[l]
    return gradients


def output_covariance_norm(weights: Weights) -> float:
    """``λ_max(S)``; because ``I ⪯ S ⪯ λ_max(S) I``, ``𝓛/λ_max(S) ≤ 𝓕* ≤ 𝓛``."""
    return float(np.linalg.eigvalsh(output_covariance(weights))[-1])
