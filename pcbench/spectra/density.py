r"""The distribution of eigenvalues, by stochastic Lanczos quadrature, with a confidence band.

A random unit vector ``v`` sees a spectrum with weights ``(vᵀ u_i)²``. The share of weight at or
below ``λ``, ``Φ_v(λ)``, has the share of eigenvalues ``Φ(λ)`` as its mean, and follows
``Beta(m/2, (P - m)/2)`` with ``m = P Φ(λ)``, whatever the eigenvectors. Such a variable is
sub-Gaussian with variance ``1/(2P + 4)`` (Marchal & Arbel 2017), so the mean of ``n`` of them is
off by more than ``t`` with probability at most

.. math:: 2 \exp(-n (P + 2)\, t^2) ,

and, as shares change at no more than ``P`` places, at any ``λ`` at all at most ``P + 1`` times
that.

``k`` steps of Lanczos from ``v`` do not give ``Φ_v`` but its Gauss quadrature, nodes ``θ_j`` with
weights ``s_{1j}²``. By the Chebyshev-Markov-Stieltjes inequalities, at every ``λ``

.. math:: \sum_{j < i} w_j \;≤\; Φ_v(λ) \;≤\; \sum_{j ≤ i + 1} w_j , \qquad θ_i ≤ λ < θ_{i+1} .

Both together bound ``Φ``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator

from pcbench.spectra.lanczos import Krylov


@dataclass(frozen=True, slots=True)
class Density:
    """What random vectors saw of a spectrum.

    Attributes
    ----------
    nodes
        Ritz values, ascending, of all probes together.
    weights
        Their shares of all eigenvalues; they sum to 1.
    at
        Where the band is given, ascending.
    lower, upper
        The share of eigenvalues at or below ``at`` lies between them.
    rounding
        How far eigenvalues may stand from where they are seen, by the rounding of products.
    """

    nodes: Float[np.ndarray, " nodes"]
    weights: Float[np.ndarray, " nodes"]
    at: Float[np.ndarray, " points"]
    lower: Float[np.ndarray, " points"]
    upper: Float[np.ndarray, " points"]
    rounding: float


def spectral_density(
    operator: LinearOperator,
    rng: np.random.Generator,
    *,
    probes: int = 8,
    steps: int = 40,
    points: int = 101,
    confidence: float = 1 - 1e-6,
) -> Density:
    """Estimate the distribution of the eigenvalues.

    Parameters
    ----------
    operator
        Symmetric, ``(P, P)``.
    rng
        Draws the probes.
    probes
        Random vectors.
    steps
        Lanczos steps of each.
    points
        Where the band is given, evenly from the least to the largest Ritz value.
    confidence
        Of the whole band: at every ``λ``, whether it is among the points or not.
    """
    spaces = [
        _space(operator, rng.standard_normal(operator.shape[0]), steps) for _ in range(probes)
    ]
    found = [space.ritz() for space in spaces]
    everything = np.concatenate([values for values, _ in found])
    at = np.linspace(everything.min(), everything.max(), points)
    lower, upper = np.zeros(points), np.zeros(points)
    for space, (values, vectors) in zip(spaces, found, strict=True):
        weights = np.concatenate([[0.0], np.cumsum(vectors[0] ** 2)])
        below = np.searchsorted(values, at, side="right")
        if space.exhausted:  # the quadrature is the measure itself
            lower += weights[below]
            upper += weights[below]
        else:
            lower += weights[np.maximum(below - 1, 0)]
            upper += weights[np.minimum(below + 1, len(values))]
    # Shares change at eigenvalues alone: between them, P + 1 values are off together or not at all.
    size = operator.shape[0]
    off = np.sqrt(np.log(2 * (size + 1) / (1 - confidence)) / (probes * (size + 2)))
    order = np.argsort(everything, kind="stable")
    shares = np.concatenate([vectors[0] ** 2 for _, vectors in found]) / probes
    u = float(np.finfo(operator.dtype).eps)
    return Density(
        nodes=everything[order],
        weights=shares[order],
        at=at,
        lower=np.clip(lower / probes - off, 0.0, 1.0),
        upper=np.clip(upper / probes + off, 0.0, 1.0),
        rounding=u * np.sqrt(operator.shape[0]) * float(np.abs(everything).max()),
    )


def _space(operator: LinearOperator, start: Float[np.ndarray, " P"], steps: int) -> Krylov:
    krylov = Krylov(operator, start)
    while krylov.steps < steps and not krylov.exhausted:
        krylov.extend()
    return krylov
