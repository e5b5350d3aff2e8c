r"""The least and the largest eigenvalue of a symmetric operator, with error bars.

Three statements are made of each, and none of them rests on how plausible the estimate looks:

* it is a Rayleigh quotient, so ``λ_min ≤ θ`` (and ``λ_max ≥ θ``) however early the iteration ended;
* an eigenvalue lies within the residual ``‖H v - θ v‖``, from a product made for that purpose;
* what may have been missed. With ``p`` the characteristic polynomial of ``T``, ``‖p(H) q_1‖ = β_1 ⋯
  β_k``, so that an eigenvector ``u`` of which the start has the part ``s = |uᵀ q_1|`` belongs to an
  eigenvalue with ``s |p(λ)| ≤ β_1 ⋯ β_k``. Below all Ritz values, by ``δ``, that is

.. math:: δ \prod_{i>1} (θ_i - θ_1 + δ) \;≤\; β_1 \cdots β_k / s ,

  which bounds ``δ``, at every ``k``. A random start has ``s ≥ ε √(π/2P)`` with probability
  ``1 - ε``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator

from pcbench.spectra.lanczos import Krylov

# How likely the bound on what was missed may be wrong.
MISSED = 1e-6
# An end this much smaller than the other is found relative to the other: it may be zero.
_SMALL = 0.01


@dataclass(frozen=True, slots=True)
class Eigenpair:
    """An approximate eigenvalue and eigenvector.

    Attributes
    ----------
    value
        The Rayleigh quotient ``θ``.
    vector
        Of unit length.
    residual
        ``‖H v - θ v‖``: an eigenvalue lies within that of ``value``.
    """

    value: float
    vector: Float[np.ndarray, " P"]
    residual: float


@dataclass(frozen=True, slots=True)
class Extremes:
    """Both ends of a spectrum.

    Attributes
    ----------
    lowest, highest
        Eigenpairs from the least one upwards, and from the largest one downwards, their vectors
        orthogonal. One start sees one vector of every eigenspace: a multiple eigenvalue is among
        them once, unless rounding lets another of its vectors in.
    steps
        Products that it took, but for those of the residuals.
    missed
        With probability ``1 - MISSED`` no eigenvalue lies further outside than that.
    """

    lowest: tuple[Eigenpair, ...]
    highest: tuple[Eigenpair, ...]
    steps: int
    missed: float

    @property
    def least(self) -> Eigenpair:
        """The pair of the least eigenvalue."""
        return self.lowest[0]

    @property
    def largest(self) -> Eigenpair:
        """The pair of the largest eigenvalue."""
        return self.highest[0]


def extreme_eigenpairs(
    operator: LinearOperator,
    rng: np.random.Generator,
    *,
    count: int = 1,
    relative: float = 1e-4,
    max_steps: int = 300,
) -> Extremes:
    """Find the least and the largest eigenvalues, by the Lanczos process from a random start.

    Parameters
    ----------
    operator
        Symmetric, ``(P, P)``.
    rng
        Draws the start.
    count
        How many at each end, if the operator has so many different ones.
    relative
        The iteration ends where the residuals of all of them are smaller than this fraction of
        the least, or of the largest, or than rounding makes them. (Of an end that is less than a
        hundredth of the other: than this fraction of such a hundredth.)
    max_steps
        Or after so many steps: the residuals then say what was reached.
    """
    size = operator.shape[0]
    krylov = Krylov(operator, rng.standard_normal(size))
    while True:
        krylov.extend()
        values, vectors = krylov.ritz()
        # The ends of fewer Ritz values overlap, and tell nothing of how far they are apart.
        complete = krylov.steps > 2 * count and _arrived(krylov, values, vectors, count, relative)
        if krylov.exhausted or krylov.steps >= max_steps or complete:
            break
    found = min(count, krylov.steps)
    ends = [*range(found), *range(krylov.steps - 1, krylov.steps - 1 - found, -1)]
    lifted = krylov.lift(vectors[:, ends])
    images = operator.matmat(lifted)
    pairs = [_pair(vector, image) for vector, image in zip(lifted.T, images.T, strict=True)]
    missed = max(_missed(krylov, values), _missed(krylov, -values[::-1]))
    return Extremes(tuple(pairs[:found]), tuple(pairs[found:]), krylov.steps, missed)


def _arrived(
    krylov: Krylov,
    values: Float[np.ndarray, " k"],
    vectors: Float[np.ndarray, "k k"],
    count: int,
    relative: float,
) -> bool:
    left, radius = krylov.residuals(vectors), float(np.abs(values).max())
    low, high = (
        relative * max(abs(end), _SMALL * radius) + krylov.rounding
        for end in (values[0], values[-1])
    )
    return bool((left[:count] <= low).all() and (left[-count:] <= high).all())


def _pair(vector: Float[np.ndarray, " P"], image: Float[np.ndarray, " P"]) -> Eigenpair:
    value = float(vector @ image)
    return Eigenpair(value, vector, float(np.linalg.norm(image - value * vector)))


def _missed(krylov: Krylov, values: Float[np.ndarray, " k"]) -> float:
    """``δ``: how far below the least of all Ritz values an eigenvalue may be."""
    size = krylov.size
    if krylov.steps == size or krylov.rounding == 0:  # all was seen; or the start is sent to 0
        return krylov.rounding
    part = MISSED / 2 * np.sqrt(np.pi / (2 * size))  # of the start, in either end's eigenvector
    # A space that is exhausted is so up to rounding; none of its β is known better.
    allowed = float(np.sum(np.log(np.maximum(krylov.couplings, krylov.rounding)))) - np.log(part)
    gaps = values[1:] - values[0]

    def taken(log_delta: float) -> float:
        return log_delta + float(np.sum(np.log(gaps + np.exp(log_delta))))

    low, high = -700.0, 700.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if taken(middle) <= allowed else (low, middle)
    return float(np.exp(high)) + krylov.rounding
