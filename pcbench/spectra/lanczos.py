r"""The Lanczos process: a symmetric operator, as the few vectors that it was tried on see it.

From a start ``q_1`` it builds an orthonormal basis ``Q`` of the Krylov space and the tridiagonal
``T = Qᵀ H Q``. Eigenvalues ``θ`` of ``T``, with eigenvectors ``s``, are Ritz values of ``H``, and
``Q s`` is off by

.. math:: ‖H Q s - θ Q s‖ = β_k |s_k| ,

so that an eigenvalue of ``H`` lies within that of ``θ``.

Every new vector is orthogonalised against all others. Without that, rounding lets converged
directions in again, and their eigenvalues return as *ghosts*, copies that look like multiplicity.

**Both ends of the spectrum.** Three statements are made of each, and none of them rests on how
plausible the estimate looks:

* it is a Rayleigh quotient, so ``λ_min ≤ θ`` (and ``λ_max ≥ θ``) however early the iteration ended;
* an eigenvalue lies within the residual ``‖H v - θ v‖``, from a product made for that purpose;
* what may have been missed. With ``p`` the characteristic polynomial of ``T``, ``‖p(H) q_1‖ = β_1 ⋯
  β_k``, so that an eigenvector ``u`` of which the start has the part ``s = |uᵀ q_1|`` belongs to an
  eigenvalue with ``s |p(λ)| ≤ β_1 ⋯ β_k``. Below all Ritz values, by ``δ``, that is

.. math:: δ \prod_{i>1} (θ_i - θ_1 + δ) \;≤\; β_1 \cdots β_k / s ,

  which bounds ``δ``, at every ``k``. A random start has ``s ≥ ε √(π/2P)`` with probability
  ``1 - ε``.

**The distribution of eigenvalues.** A random unit vector ``v`` sees a spectrum with weights ``(vᵀ
u_i)²``. The share of weight at or below ``λ``, ``Φ_v(λ)``, has the share of eigenvalues ``Φ(λ)`` as
its mean, and follows ``Beta(m/2, (P - m)/2)`` with ``m = P Φ(λ)``, whatever the eigenvectors. Such
a variable is sub-Gaussian with variance ``1/(2P + 4)`` (Marchal & Arbel 2017), so the mean of ``n``
of them is off by more than ``t`` with probability at most

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
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator

Vector = Float[np.ndarray, " P"]

# What is left of a product is nothing if it is so many roundings of the largest one.
_ROUNDINGS = 32
# The basis grows by so many vectors at a time.
_GROWTH = 16
# How likely the bound on what was missed may be wrong.
MISSED = 1e-6


class NotNumbersError(ArithmeticError):
    """A product of the operator is not finite."""


class Krylov:
    """A Krylov space that grows.

    The operator is symmetric, ``(P, P)``; the basis is kept in its dtype, the coefficients in
    float64. Any vector but zero may be the start.
    """

    def __init__(self, operator: LinearOperator, start: Vector) -> None:
        self._operator, self.size = operator, len(start)
        self._basis = np.empty((_GROWTH, len(start)), operator.dtype)
        self._basis[0] = start / np.linalg.norm(start)
        self._diagonal: list[float] = []
        self._off: list[float] = []
        self._scale = 0.0
        self.exhausted = False

    @property
    def steps(self) -> int:
        """``k``: products so far, and the size of ``T``."""
        return len(self._diagonal)

    @property
    def basis(self) -> Float[np.ndarray, "k P"]:
        """``Qᵀ``: the basis, a vector a row."""
        return self._basis[: self.steps]

    @property
    def rounding(self) -> float:
        """What rounding alone may leave of a product, once the basis has been taken out.

        Errors are relative to each entry, or of sums within a layer, and do not grow with ``P``.
        """
        return _ROUNDINGS * float(np.finfo(self._operator.dtype).eps) / 2 * self._scale

    def extend(self) -> None:
        """Multiply once more.

        Where what is left of the new direction is no more than the rounding of the product, the
        space is invariant, ``exhausted``, and there is nothing to extend.
        """
        k = self.steps
        direction = self._basis[k]
        image = np.asarray(self._operator.matvec(direction), np.float64)
        if not np.isfinite(image).all():
            raise NotNumbersError("a product of the operator is not made of numbers")
        self._scale = max(self._scale, float(np.linalg.norm(image)))
        self._diagonal.append(float(direction @ image))
        image -= self._diagonal[-1] * direction
        if k > 0:
            image -= self._off[-1] * self._basis[k - 1]
        image, beta = self._orthogonal(image)
        self._off.append(beta)
        self.exhausted = beta <= self.rounding or k + 1 == len(image)
        if self.exhausted:
            return
        if k + 1 == len(self._basis):
            self._basis = np.concatenate([self._basis, np.empty_like(self._basis[:_GROWTH])])
        self._basis[k + 1] = image / beta

    def ritz(self) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k k"]]:
        """Return the Ritz values, ascending, and the eigenvectors of ``T``, a column each."""
        values, vectors = eigh_tridiagonal(self._diagonal, self._off[:-1])
        return values, vectors

    def residuals(self, vectors: Float[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
        """``β_k |s_k|`` of every Ritz pair."""
        residuals: Float[np.ndarray, " k"] = self._off[-1] * np.abs(vectors[-1])
        return residuals

    def lift(self, vectors: Float[np.ndarray, "k m"]) -> Float[np.ndarray, "P m"]:
        """``Q s`` of eigenvectors of ``T``, of unit length."""
        lifted = np.asarray(self.basis.T @ vectors.astype(self._operator.dtype), np.float64)
        unit: Float[np.ndarray, "P m"] = lifted / np.linalg.norm(lifted, axis=0)
        return unit

    def missed(self, values: Float[np.ndarray, " k"]) -> float:
        """``δ``: how far below the least of all Ritz values an eigenvalue may be."""
        if self.steps == self.size or self.rounding == 0:  # all was seen; or the start is sent to 0
            return self.rounding
        # The part of the start in either end's eigenvector.
        part = MISSED / 2 * np.sqrt(np.pi / (2 * self.size))
        # A space that is exhausted is so up to rounding; none of its β is known better.
        couplings = np.maximum(np.array(self._off), self.rounding)
        allowed = float(np.sum(np.log(couplings))) - np.log(part)
        gaps = values[1:] - values[0]
        low, high = -700.0, 700.0
        for _ in range(100):
            middle = (low + high) / 2
            taken = middle + float(np.sum(np.log(gaps + np.exp(middle))))
            low, high = (middle, high) if taken <= allowed else (low, middle)
        return float(np.exp(high)) + self.rounding

    def _orthogonal(self, image: Vector) -> tuple[Vector, float]:
        """Take out what the basis has of it; again, where little was left (Daniel et al. 1976)."""
        basis, left = self._basis[: self.steps], float(np.linalg.norm(image))
        while True:
            before = left
            image = image - basis.T @ (basis @ image.astype(basis.dtype))
            left = float(np.linalg.norm(image))
            if not left < before / np.sqrt(2) or left == 0:  # NaN ends it, too
                return image, left


# An end this much smaller than the other is found relative to the other: it may be zero.
_SMALL = 0.01


@dataclass(frozen=True, slots=True)
class Eigenpair:
    """An approximate eigenvalue and eigenvector."""

    value: float  # the Rayleigh quotient θ
    vector: Float[np.ndarray, " P"]  # of unit length
    residual: float  # ‖H v - θ v‖: an eigenvalue lies within that of value


@dataclass(frozen=True, slots=True)
class Extremes:
    """Both ends of a spectrum.

    Vectors are orthogonal. One start sees one vector of every eigenspace: a multiple eigenvalue is
    found once, unless rounding lets another of its vectors in.
    """

    lowest: tuple[Eigenpair, ...]  # from the least one upwards
    highest: tuple[Eigenpair, ...]  # from the largest one downwards
    steps: int  # products that it took, but for those of the residuals
    missed: float  # no eigenvalue lies further outside, with probability 1 - MISSED

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
    """Find the least and the largest eigenvalues, ``count`` of each, from a random start.

    The iteration ends where the residuals of all of them are smaller than the ``relative`` part of
    the least, or of the largest, or than rounding makes them. (Of an end that is less than a
    hundredth of the other: than this part of such a hundredth.) Or after ``max_steps``: the
    residuals then say what was reached.
    """
    size = operator.shape[0]
    krylov = Krylov(operator, rng.standard_normal(size))
    while True:
        krylov.extend()
        values, vectors = krylov.ritz()
        left, radius = krylov.residuals(vectors), float(np.abs(values).max())
        low, high = (
            relative * max(abs(end), _SMALL * radius) + krylov.rounding
            for end in (values[0], values[-1])
        )
        arrived = (left[:count] <= low).all() and (left[-count:] <= high).all()
        # The ends of fewer Ritz values overlap, and tell nothing of how far they are apart.
        complete = krylov.steps > 2 * count and arrived
        if krylov.exhausted or krylov.steps >= max_steps or complete:
            break
    found = min(count, krylov.steps)
    ends = [*range(found), *range(krylov.steps - 1, krylov.steps - 1 - found, -1)]
    lifted = krylov.lift(vectors[:, ends])
    images = operator.matmat(lifted)
    pairs = []
    for vector, image in zip(lifted.T, images.T, strict=True):
        value = float(vector @ image)
        pairs.append(Eigenpair(value, vector, float(np.linalg.norm(image - value * vector))))
    missed = max(krylov.missed(values), krylov.missed(-values[::-1]))
    return Extremes(tuple(pairs[:found]), tuple(pairs[found:]), krylov.steps, missed)


@dataclass(frozen=True, slots=True)
class Density:
    """What random vectors saw of a spectrum."""

    nodes: Float[np.ndarray, " nodes"]  # Ritz values, ascending, of all probes together
    weights: Float[np.ndarray, " nodes"]  # their shares of all eigenvalues, which sum to 1
    at: Float[np.ndarray, " points"]  # where the band is given, ascending
    # Bounds on the share of eigenvalues at or below each of these points.
    lower: Float[np.ndarray, " points"]
    upper: Float[np.ndarray, " points"]
    rounding: float  # how far products' rounding may move eigenvalues


def spectral_density(
    operator: LinearOperator,
    rng: np.random.Generator,
    *,
    probes: int = 8,
    steps: int = 40,
    points: int = 101,
    confidence: float = 1 - 1e-6,
) -> Density:
    """Estimate the distribution of the eigenvalues of a symmetric operator, ``(P, P)``.

    From random vectors, ``probes``, with so many Lanczos ``steps`` each. The band is given at
    points spaced evenly from the least to the largest Ritz value; its ``confidence`` is that of the
    whole band, at every ``λ``.
    """
    spaces = [Krylov(operator, rng.standard_normal(operator.shape[0])) for _ in range(probes)]
    for space in spaces:
        while space.steps < steps and not space.exhausted:
            space.extend()
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
