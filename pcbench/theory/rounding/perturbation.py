"""Rounding at equilibrium, by stochastic arithmetic (§4).

Exact inference (§2.2) is repeated (``stochastic.py``) with every matrix product perturbed by errors
of the size that ``bounds.py`` derives. All repetitions run side by side, along a leading axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isnan

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Inputs, Targets, Weights
from pcbench.theory.linear.equilibrium import (
    activities_from_errors,
    equilibrium_errors,
    hidden_forces,
    output_covariance,
    prediction_errors,
    residuals,
)
from pcbench.theory.rounding.bounds import CONFIDENCE, FLOAT64
from pcbench.theory.rounding.stochastic import (
    DRAWS,
    LEAST_PROBE,
    PROBE,
    SMALL,
    allowed,
    generator,
    repetitions,
)
from pcbench.theory.rounding.underflow import SMALLEST, underflow

Matrix = Float[np.ndarray, "*_repetitions _rows _columns"]
Norms = Float[np.ndarray, "*_repetitions"]
Product = Callable[[Matrix, Matrix], Matrix]
Factors = tuple[Matrix, Matrix]
"""``A`` and ``B`` of a product ``Aᵀ B``."""

# What bends the response first is S: where its least eigenvalue is small against its diagonal, the
# probe is cut. An eighth of that eigenvalue (SMALL) is the most that still is a small change.
_PROBE_OF_COVARIANCE = 2.0**-10


@dataclass(frozen=True, slots=True)
class EquilibriumRounding:
    """Absolute bounds on what rounding does to quantities at equilibrium.

    Near the origin errors are far smaller than the activities, and evaluated anew, ``z_l - W_l
    z_{l-1}``, lose most of their digits: exact inference knows them better.
    """

    energy: float  # 𝓕*, evaluated from its definition at the activities reached
    loss: float  # 𝓛
    prediction: float  # ŷ, Frobenius norm
    gradients: tuple[float, ...]  # ∂𝓕/∂W_l, Frobenius norm, one a layer
    carried: tuple[float, ...]  # the same, of the errors that exact inference finds
    residual: float  # ‖∂(N𝓕)/∂z‖ over all hidden activities
    output: float  # ‖z_L - y‖, Frobenius norm, after the forward recursion


def equilibrium_rounding(weights: Weights, x: Inputs, y: Targets, u: float) -> EquilibriumRounding:
    """Bound the rounding, at unit roundoff ``u``, of exact inference and of what comes from it.

    The energy is stationary in the hidden activities, so that their errors enter it at second order
    only; at first order there is the rounding of the prediction errors as they are evaluated.
    Bounds are infinite where float64 resolves too little of ``S`` to find them; those on the loss
    and the prediction, which do without ``S``, never are.
    """
    n = len(x)
    probe = covariance_probe(weights)
    if probe is None:
        return _unbounded(weights, x, y, u)
    e = equilibrium_errors(weights, x, y)
    z = activities_from_errors(weights, x, e)
    off = residuals(weights, x, y)
    hidden = n * max(1, sum(len(weight) for weight in weights[:-1]))
    repeats = repetitions(hidden, len(weights[-1]) ** 2)  # all samples share the rounding of S
    product = _perturbed_product(probe, repeats)
    erring, exact = (_theorem_1(weights, x, y, by) for by in (product, np.matmul))
    own_changes = [_apart(ours, theirs) for ours, theirs in zip(erring, exact, strict=True)]
    try:
        reached, found, output, prediction = _two_passes(weights, x, y, product)
    except np.linalg.LinAlgError:  # a simulated rounding left S indefinite
        return _unbounded(weights, x, y, u)
    errors = prediction_errors(weights, reached)
    forces = hidden_forces(weights, errors)
    gradients = [
        _apart((of_layer, below), (error, activity)) / n
        for layers in (errors, found)
        for of_layer, below, error, activity in zip(layers, reached, e, z, strict=False)
    ]
    seen = [
        np.broadcast_to(norms, repeats)  # without hidden layers some repeat nothing
        for norms in (
            _norm([a - b for a, b in zip(errors, e, strict=True)]),
            _norm(forces) if forces else np.zeros(()),
            _norm([output - y]),
            _norm([prediction - (y - off)]),
            *gradients,
        )
    ]
    bounds = allowed(np.transpose(seen), u, probe) + underflow(weights, [*z, *e])
    own_rounding = allowed(np.transpose(own_changes), FLOAT64, probe)
    off_errors, off_residual, off_output, off_prediction = map(float, bounds[:4])
    norm, (anew, carried) = np.linalg.norm, np.split(bounds[4:], 2)
    last_product = [
        CONFIDENCE * u * np.sqrt(2 / n) * norm(error) * norm(below)
        for error, below in zip(e, z, strict=False)
    ]
    own = np.array(last_product) + own_rounding[1:]
    return EquilibriumRounding(
        energy=_evaluation(weights, z, e, u) + off_errors**2 / (2 * n) + float(own_rounding[0]),
        loss=_loss_off(off, off_prediction, u),
        prediction=off_prediction,
        gradients=tuple(map(float, anew + own)),
        carried=tuple(map(float, carried + own)),
        residual=off_residual,
        output=off_output,
    )


def covariance_probe(weights: Weights) -> float | None:
    """Choose the size of simulated roundings; ``None`` where float64 has none that fits ``S``.

    Roundings of ``S`` go by the norms of its factors' rows, which are no larger than the roots of
    its diagonal. So it is scaled to a diagonal of ones, and a rounding of relative size ``u`` then
    moves its eigenvalues by about ``u``: the least of them says how large a small change may be.
    """
    covariance = output_covariance(weights)
    if not np.isfinite(covariance).all():
        return None
    scale = np.sqrt(np.diagonal(covariance))
    least = float(np.linalg.eigvalsh(covariance / scale / scale[:, None])[0])
    probe = min(PROBE, max(_PROBE_OF_COVARIANCE * least, LEAST_PROBE))
    return probe if probe <= SMALL * least else None


def _unbounded(weights: Weights, x: Matrix, y: Matrix, u: float) -> EquilibriumRounding:
    """Bound the prediction and the loss alone, if they are in float64's range."""
    off = residuals(weights, x, y)
    product = _perturbed_product(PROBE, repetitions(y.size, DRAWS))
    with np.errstate(over="ignore", invalid="ignore"):
        _, prediction = _from_output(weights, x, product)
        drawn = float(allowed(_norm([prediction - (y - off)]), u, PROBE))
    off_prediction = (inf if isnan(drawn) else drawn) + underflow(weights, [x, y], forward=True)
    loss, each = _loss_off(off, off_prediction, u), (inf,) * len(weights)
    return EquilibriumRounding(inf, loss, off_prediction, each, each, inf, inf)


def _loss_off(off: Matrix, off_prediction: float, u: float) -> float:
    """Bound the rounding of ``𝓛``, of residuals whose predictions are off."""
    moved = (float(np.linalg.norm(off)) + off_prediction / 2) * off_prediction / len(off)
    return moved + _summation(off, u)


def loss_gradient_rounding(weights: Weights, x: Inputs, y: Targets, u: float) -> tuple[float, ...]:
    """Bound the rounding of backpropagation: on ``∂𝓛/∂W_l``, Frobenius norm, one a layer.

    The theory's own gradients come from other products of the same factors, in float64.
    """
    exact = _backpropagated(weights, x, y, np.matmul)
    activities = len(x) * sum(len(weight) for weight in weights)
    # However large the batch, a gradient of few entries is as few numbers in every repetition.
    entries = min(weight.size for weight in weights)
    product = _perturbed_product(PROBE, repetitions(activities, entries))
    seen = [
        _norm([erring - gradient])
        for erring, gradient in zip(_backpropagated(weights, x, y, product), exact, strict=True)
    ]
    bounds = allowed(np.transpose(seen), u + FLOAT64, PROBE) + underflow(weights, [x, y])
    return tuple(map(float, bounds))


def _backpropagated(weights: Weights, x: Matrix, y: Matrix, product: Product) -> list[Matrix]:
    """``∂𝓛/∂W_l`` by a forward and a backward pass, in the arithmetic of ``product``."""
    forward = [x]
    for weight in weights:
        forward.append(product(forward[-1], weight.T))
    delta, gradients = (forward[-1] - y) / len(x), []
    for weight, below in zip(reversed(weights), reversed(forward[:-1]), strict=True):
        gradients.append(product(delta.mT, below))
        delta = product(delta, weight)
    return gradients[::-1]


def _two_passes(
    weights: Weights, x: Matrix, y: Matrix, product: Product
) -> tuple[list[Matrix], list[Matrix], Matrix, Matrix]:
    """Exact inference as §2.2 has it, in the arithmetic of ``product``.

    Activities with the output clamped, the errors that they were made of, the output that the
    recursion reached, and the feedforward prediction.
    """
    covariance, prediction = _from_output(weights, x, product)
    factor = np.linalg.cholesky(covariance)
    # Cholesky solves a system that differs from S by the rounding of its factors' product.
    errors = [np.linalg.solve(product(factor, factor.mT), (y - prediction).mT).mT]
    for weight in reversed(weights[1:]):
        errors.insert(0, product(errors[0], weight))
    activities = [x]
    for weight, e in zip(weights, errors, strict=True):
        activities.append(product(activities[-1], weight.T) + e)
    return [*activities[:-1], y], errors, activities[-1], prediction


def _from_output(weights: Weights, x: Matrix, product: Product) -> tuple[Matrix, Matrix]:
    """``S`` and the feedforward prediction, in the arithmetic of ``product``."""
    covariance, to_output = np.eye(len(weights[-1])), np.eye(len(weights[-1]))
    for weight in reversed(weights[1:]):
        to_output = product(to_output, weight)
        covariance = covariance + product(to_output, to_output.mT)
    return covariance, product(x, product(to_output, weights[0]).mT)


def _theorem_1(weights: Weights, x: Matrix, y: Matrix, product: Product) -> list[Factors]:
    """``𝓕*`` and its gradients as ``equilibrium.py`` has them, in the arithmetic of ``product``.

    Each is returned as its last product's factors, which is left exact: it is ``d_L`` long, and
    every other is as long or longer, or feeds more than one of them.
    """
    to_output = [np.eye(len(weights[-1]))]
    for weight in reversed(weights):
        to_output.insert(0, product(to_output[0], weight))
    covariance = np.eye(len(weights[-1]))
    for reach in to_output[1:-1]:
        covariance = covariance + product(reach, reach.mT)
    off = y - product(x, to_output[0].mT)
    u = np.linalg.solve(covariance, off.mT).mT
    column = (*u.shape[:-2], y.size, 1)
    answers = [(off.reshape(column), u.reshape(column) / (2 * len(x)))]
    by_input, second_moment = product(u.mT, x) / len(x), product(u.mT, u) / len(x)
    by_errors = np.zeros_like(by_input)
    for weight, reach in zip(weights, to_output[1:], strict=True):
        answers.append((reach, by_input + product(second_moment, by_errors)))
        by_input = product(by_input, weight.T)
        by_errors = product(by_errors, weight.T) + reach
    return answers


def _perturbed_product(u: float, repeats: int) -> Product:
    """Return a matrix product that errs as rounding at unit roundoff ``u`` would.

    It errs anew in every repetition, whether or not its factors differ between them.
    """
    rng = generator()

    def product(a: Matrix, b: Matrix) -> Matrix:
        rows = np.sqrt(2 * a.shape[-1] * np.einsum("...ij,...ij->...i", a, a))
        columns = u * np.sqrt(np.einsum("...ij,...ij->...j", b, b))
        exact = a @ b
        noise = rng.standard_normal((repeats, *exact.shape[-2:]), dtype=np.float32)
        erring: Matrix = exact + noise * columns[..., None, :] * rows[..., :, None]
        return erring

    return product


def _norm(matrices: Sequence[Matrix]) -> Norms:
    """Frobenius norm over all of them, of each repetition."""
    squares = [np.sum(matrix**2, axis=(-2, -1)) for matrix in matrices]
    total: Norms = np.asarray(np.sqrt(sum(squares[1:], squares[0])))
    return total


def _apart(ours: Factors, theirs: Factors) -> Norms:
    """``‖Aᵀ B - Cᵀ D‖`` (Frobenius), without forming what is as large as a layer's weights.

    The difference is ``(A - C)ᵀ B + Cᵀ (B - D)``, a product of factors ``Pᵀ Q`` itself, and
    ``‖Pᵀ Q‖² = tr(PPᵀ QQᵀ)``.
    """
    (a, b), (c, d) = ours, theirs
    off_a, off_b = a - c, b - d
    left = np.concatenate([off_a, np.broadcast_to(c, off_a.shape)], axis=-2)
    right = np.concatenate([np.broadcast_to(b, off_b.shape), off_b], axis=-2)
    if left.shape[-1] * right.shape[-1] <= left.shape[-2] ** 2:
        return _norm([left.mT @ right])
    # What rounding leaves of a difference of nothing may be below zero.
    square = np.sum((left @ left.mT) * (right @ right.mT), axis=(-2, -1))
    return np.asarray(np.sqrt(np.maximum(0.0, square)))


def _evaluation(
    weights: Weights, activities: Sequence[Matrix], errors: Sequence[Matrix], u: float
) -> float:
    """Rounding of ``1/(2N) Σ ‖e_l‖²`` as each ``e_l = z_l - W_l z_{l-1}`` is evaluated (Azuma)."""
    variance = 0.0
    for weight, below, above, error in zip(
        weights, activities, activities[1:], errors, strict=False
    ):
        rows, samples = np.sum(weight**2, axis=1), np.sum(below**2, axis=1)
        variance += 2 * weight.shape[1] * float(samples @ error**2 @ rows)
        variance += float(np.sum((error * above) ** 2))
    n = len(activities[0])
    return CONFIDENCE * u * float(np.sqrt(variance)) / n + sum(_summation(e, u) for e in errors)


def _summation(errors: Matrix, u: float) -> float:
    """Rounding of ``1/(2N) Σ ‖e‖²`` as it is squared and summed."""
    half_mean = float(np.sum(errors**2)) / (2 * len(errors))
    rounded = CONFIDENCE * u * (1 + float(np.sqrt(2 * errors.size))) * half_mean
    return rounded + errors.size * SMALLEST
