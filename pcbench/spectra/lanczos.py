r"""The Lanczos process: a symmetric operator, as the few vectors that it was tried on see it.

From a start ``q_1`` it builds an orthonormal basis ``Q`` of the Krylov space and the tridiagonal
``T = Qᵀ H Q``. Eigenvalues ``θ`` of ``T``, with eigenvectors ``s``, are Ritz values of ``H``, and
``Q s`` is off by

.. math:: ‖H Q s - θ Q s‖ = β_k |s_k| ,

so that an eigenvalue of ``H`` lies within that of ``θ``.

Every new vector is orthogonalised against all others. Without that, rounding lets converged
directions in again, and their eigenvalues return as *ghosts*, copies that look like multiplicity.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator

Vector = Float[np.ndarray, " P"]

# What is left of a product is nothing if it is so many roundings of the largest one.
_ROUNDINGS = 32
# The basis grows by so many vectors at a time.
_GROWTH = 16


class NotNumbersError(ArithmeticError):
    """A product of the operator is not finite."""


class Krylov:
    """A Krylov space that grows.

    Parameters
    ----------
    operator
        Symmetric, ``(P, P)``. The basis is kept in its dtype, the coefficients in float64.
    start
        Any vector but zero.
    """

    def __init__(self, operator: LinearOperator, start: Vector) -> None:
        self._operator = operator
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
    def size(self) -> int:
        """``P``."""
        return int(self._basis.shape[1])

    @property
    def couplings(self) -> Float[np.ndarray, " k"]:
        """``β_1 … β_k``; the last leads out of the space."""
        return np.array(self._off)

    @property
    def basis(self) -> Float[np.ndarray, "k P"]:
        """``Qᵀ``: the basis, a vector a row."""
        return self._basis[: self.steps]

    @property
    def rounding(self) -> float:
        """What rounding alone may leave of a product, once the basis has been taken out.

        Errors are relative to each entry, or of sums within a layer: they do not grow with ``P``.
        """
        return _ROUNDINGS * float(np.finfo(self._operator.dtype).eps) / 2 * self._scale

    def extend(self) -> None:
        """Multiply once more.

        ``exhausted`` says that the space has become invariant: what is left of the new direction
        is no more than the rounding of the product. Then there is nothing to extend.

        Raises
        ------
        NotNumbersError
            If the product is not finite.
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

    def _orthogonal(self, image: Vector) -> tuple[Vector, float]:
        """Take out what the basis has of it; again, where little was left (Daniel et al. 1976)."""
        basis, left = self._basis[: self.steps], float(np.linalg.norm(image))
        while True:
            before = left
            image = image - basis.T @ (basis @ image.astype(basis.dtype))
            left = float(np.linalg.norm(image))
            if not left < before / np.sqrt(2) or left == 0:  # NaN ends it, too
                return image, left
