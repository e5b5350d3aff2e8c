r"""Theorem 1 of the paper: a deep linear network at equilibrium, and on its way there (§2).

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

**What inference descends (§2.3).** With input and output clamped, the energy is quadratic in the
hidden activities ``z_1 … z_{L-1}`` of each sample, with the block tridiagonal Hessian

.. math::
    H_z: \quad (l, l) \mapsto I + W_{l+1}^T W_{l+1}, \qquad (l, l+1) \mapsto -W_{l+1}^T .

In the eigenbasis of ``H_z`` every coordinate of the distance to equilibrium shrinks on its own,
by ``1 - Δt λ_i`` a step. From the feedforward activities, ``n`` steps leave

.. math::
    z^{(n)} - z^* = \sum_i (1 - Δt λ_i)^n \, q_i q_i^T (z^{(0)} - z^*),

and the energy is ``𝓕*`` plus half the quadratic form of that in ``H_z``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import (
    Inputs,
    Targets,
    Units,
    WeightGradients,
    Weights,
    chains_from_output,
    extreme_eigenvalue,
    solve,
)
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


def residuals(weights: Weights, x: Inputs, y: Targets) -> Targets:
    """``R = Y - X W_{L:1}ᵀ``: targets less feedforward predictions."""
    off: Targets = y - x @ chains_from_output(weights)[0].T
    return off


def loss(weights: Weights, x: Inputs, y: Targets) -> float:
    """``𝓛 = 1/(2N) Σ_n ‖r_n‖²``."""
    r = residuals(weights, x, y)
    return float(np.sum(r**2) / (2 * len(x)))


def loss_gradient(weights: Weights, x: Inputs, y: Targets) -> WeightGradients:
    """``∂𝓛/∂W_l = -(1/N) W_{L:l+1}ᵀ (RᵀX) W_{l-1:1}ᵀ`` for ``l = 1 … L``."""
    from_output = chains_from_output(weights)
    moved = residuals(weights, x, y).T @ x / len(x)  # RᵀX W_{l-1:1}ᵀ / N, l = 1
    gradients = []
    for l, weight in enumerate(weights, start=1):
        gradients.append(-from_output[l].T @ moved)
        moved = moved @ weight.T
    return gradients


def multipliers(
    weights: Weights, x: Inputs, y: Targets, precision: Precision | None = None
) -> tuple[Targets, Targets]:
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
    weights: Weights, x: Inputs, y: Targets, precision: Precision | None = None
) -> float:
    """``𝓕* = 1/(2N) Σ_n r_nᵀ λ_n``: Theorem 1, with precisions.

    The precision of the outputs is not negative and broadcasts to ``(N, d_L)``; 1 if not given.
    Targets of precision 0 need not be numbers.
    """
    r, multiplier = multipliers(weights, x, y, precision)
    return float(np.sum(r * multiplier) / (2 * len(x)))


def equilibrated_energy_gradient(
    weights: Weights, x: Inputs, y: Targets, precision: Precision | None = None
) -> WeightGradients:
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


def equilibrium_errors(
    weights: Weights, x: Inputs, y: Targets, precision: Precision | None = None
) -> list[Units]:
    """``e_1 … e_L`` at equilibrium: ``e_l = W_{L:l+1}ᵀ λ``, and at the output ``r - T λ``.

    An output of precision 0 has the error of a target equal to the feedforward prediction.
    """
    r, multiplier = multipliers(weights, x, y, precision)
    errors = [multiplier @ product for product in chains_from_output(weights)[1:]]
    if precision is not None:
        errors[-1] = r - multiplier @ hidden_covariance(weights)
    return errors


def equilibrium_activities(
    weights: Weights, x: Inputs, y: Targets, precision: Precision | None = None
) -> list[Units]:
    """``z_0 … z_L`` at equilibrium; ``z_L`` is ``y``, the prediction where the precision is 0."""
    return activities_from_errors(weights, x, equilibrium_errors(weights, x, y, precision))


def activities_from_errors(weights: Weights, x: Inputs, errors: Sequence[Units]) -> list[Units]:
    """``z_0 … z_L`` that have the given errors: the inverse of :func:`prediction_errors`."""
    activities = [x]
    for weight, error in zip(weights, errors, strict=True):
        activities.append(activities[-1] @ weight.T + error)
    return activities


def prediction_errors(
    weights: Weights, activities: Sequence[Float[np.ndarray, "... _d"]]
) -> list[Float[np.ndarray, "... _d"]]:
    """``e_l = z_l - W_l z_{l-1}`` for ``l = 1 … L``, by definition (§1)."""
    return [
        above - below @ weight.T
        for weight, below, above in zip(weights, activities, activities[1:], strict=False)
    ]


def hidden_forces(
    weights: Weights, errors: Sequence[Float[np.ndarray, "... _d"]]
) -> list[Float[np.ndarray, "... _d"]]:
    """``∂(N𝓕)/∂z_l = e_l - W_{l+1}ᵀ e_{l+1}`` of the hidden layers (§2.2)."""
    return [
        error - after @ weight
        for error, after, weight in zip(errors, errors[1:], weights[1:], strict=False)
    ]


def activity_hessian(weights: Weights) -> Float[np.ndarray, "n_hidden n_hidden"]:
    """``H_z`` as a dense matrix over all hidden units, first layer first."""
    widths = [weight.shape[0] for weight in weights[:-1]]
    starts = np.cumsum([0, *widths])
    hessian = np.eye(starts[-1])
    for l, weight in enumerate(weights[1:]):
        here = slice(starts[l], starts[l + 1])
        hessian[here, here] += weight.T @ weight
        if l + 1 < len(widths):
            above = slice(starts[l + 1], starts[l + 2])
            hessian[here, above] = -weight.T
            hessian[above, here] = -weight
    return hessian


# Below this many hidden units a dense eigensolver is as fast as an iteration, and has no tolerance.
_DENSE_UNITS = 200
# The iteration's relative accuracy. Error bounds divide by what it returns, so it is subtracted.
_LANCZOS_ACCURACY = 1e-2


def least_activity_curvature(weights: Weights) -> float:
    """``λ_min(H_z)``, from below; 1 without hidden layers.

    Large networks use Lanczos on ``H_z⁻¹``, whose top eigenvalue is well separated: with ``T`` unit
    block bidiagonal, ``T z = (z_l - W_l z_{l-1})``, and ``K = [W_{L:2}, …, W_L]``, ``H_z = Tᵀ T +
    (W_L at the last block)ᵀ(same)``, so that ``H_z⁻¹ = T⁻¹ (I - Kᵀ S⁻¹ K) T⁻ᵀ`` by Woodbury.
    """
    if len(weights) == 1:
        return 1.0
    widths = [weight.shape[0] for weight in weights[:-1]]
    if sum(widths) <= _DENSE_UNITS:
        return float(np.linalg.eigvalsh(activity_hessian(weights))[0])
    cuts = np.cumsum(widths)[:-1]
    inner = weights[1:-1]
    reach = np.concatenate(chains_from_output(weights)[1:-1], axis=1)  # K
    inverse_covariance = np.linalg.inv(output_covariance(weights))

    def solve(vector: Float[np.ndarray, " n_hidden"]) -> Float[np.ndarray, " n_hidden"]:
        blocks = np.split(vector, cuts)
        for l in reversed(range(len(inner))):  # T⁻ᵀ: from the output down
            blocks[l] = blocks[l] + inner[l].T @ blocks[l + 1]
        flat = np.concatenate(blocks)
        flat = flat - reach.T @ (inverse_covariance @ (reach @ flat))
        blocks = np.split(flat, cuts)
        for l in range(len(inner)):  # T⁻¹: from the input up
            blocks[l + 1] = blocks[l + 1] + inner[l] @ blocks[l]
        return np.concatenate(blocks)

    top = extreme_eigenvalue(solve, sum(widths), "LA", accuracy=_LANCZOS_ACCURACY)
    return (1 - _LANCZOS_ACCURACY) / top


def contraction_rate(weights: Weights, step: float) -> float:
    """``ρ = max_i |1 - Δt λ_i(H_z)|``: what a step of gradient inference leaves of the distance.

    0 without hidden layers, where there is no distance.
    """
    eigenvalues = np.linalg.eigvalsh(activity_hessian(weights))
    return float(np.max(np.abs(1 - step * eigenvalues), initial=0.0))


@dataclass(frozen=True, slots=True)
class Descent:
    """Gradient inference from the feedforward activities, of one network and batch."""

    curvatures: Float[np.ndarray, " n_hidden"]  # λ_i(H_z), ascending
    start: Float[np.ndarray, "N n_hidden"]  # z⁽⁰⁾ - z* in the eigenbasis
    equilibrium: float  # 𝓕*

    @classmethod
    def of(cls, weights: Weights, x: Inputs, y: Targets) -> Descent:
        """Diagonalise ``H_z``; needs at least one hidden layer."""
        curvatures, basis = np.linalg.eigh(activity_hessian(weights))
        errors = equilibrium_errors(weights, x, y)
        at_rest = activities_from_errors(weights, x, errors)[1:-1]
        forward = activities_from_errors(weights, x, [np.zeros_like(e) for e in errors])[1:-1]
        start = np.concatenate(forward, axis=1) - np.concatenate(at_rest, axis=1)
        return cls(curvatures, start @ basis, equilibrated_energy(weights, x, y))

    @property
    def condition(self) -> float:
        """``κ(H_z)``."""
        return float(self.curvatures[-1] / self.curvatures[0])

    @property
    def best_step(self) -> float:
        """``2/(λ_min + λ_max)``, which contracts by ``(κ - 1)/(κ + 1)``."""
        return float(2 / (self.curvatures[0] + self.curvatures[-1]))

    @property
    def largest_step(self) -> float:
        """``2/λ_max``: beyond it, inference diverges."""
        return float(2 / self.curvatures[-1])

    def rate(self, step: float) -> float:
        """``ρ = max_i |1 - Δt λ_i|``."""
        return float(np.max(np.abs(1 - step * self.curvatures)))

    def distance(self, step: float, steps: int) -> float:
        """``‖z⁽ⁿ⁾ - z*‖`` over all samples."""
        return float(np.linalg.norm(self._left(step, steps)))

    def residual(self, step: float, steps: int) -> float:
        """``‖∂(N𝓕)/∂z‖ = ‖H_z (z⁽ⁿ⁾ - z*)‖`` over all samples."""
        return float(np.linalg.norm(self.curvatures * self._left(step, steps)))

    def energy(self, step: float, steps: int) -> float:
        """``𝓕`` after ``n`` steps."""
        excess = np.sum(self.curvatures * self._left(step, steps) ** 2) / (2 * len(self.start))
        return self.equilibrium + float(excess)

    def _left(self, step: float, steps: int) -> Float[np.ndarray, "N n_hidden"]:
        left: Float[np.ndarray, "N n_hidden"] = self.start * (1 - step * self.curvatures) ** steps
        return left
