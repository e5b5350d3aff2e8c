"""A backend's Hessian as SciPy knows operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator

from pcbench.contract.backend import Backend
from pcbench.contract.model import Hessian

# Columns of the whole matrix that are asked for at a time: enough to keep a backend busy, few
# enough that the vectors stay small beside the matrix itself.
COLUMNS = 256

Progress = Callable[[Iterable[int], int], Iterator[int]]


class HessianOperator(LinearOperator):  # type: ignore[misc] # SciPy has no types
    """The Hessian of loss or energy, ``(P, P)``, for everything that takes a SciPy operator.

    Vectors are NumPy's, on the host, and travel to the backend's device and back.
    """

    def __init__(self, backend: Backend[Any], hessian: Hessian[Any], size: int) -> None:
        self._backend, self.hessian, self.products = backend, hessian, 0
        super().__init__(np.dtype(backend.dtype), (size, size))

    def _matvec(self, vector: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return self._matmat(vector.reshape(-1, 1)).reshape(vector.shape)

    def _matmat(self, matrix: Float[np.ndarray, "P K"]) -> Float[np.ndarray, "..."]:
        # Of whatever shape the backend answers with: that is for a check to find out.
        self.products += matrix.shape[1]
        rows = self._backend.to_device(np.ascontiguousarray(matrix.T))
        return self._backend.to_host(self.hessian.product(rows)).T

    def _adjoint(self) -> HessianOperator:
        return self  # symmetric


def dense(operator: LinearOperator, progress: Progress | None = None) -> Float[np.ndarray, "P P"]:
    """Return the whole matrix, block by block of columns; ``progress`` iterates over the blocks."""
    size = operator.shape[0]
    # Column after column in memory, as products come.
    columns, starts = np.empty((size, size)), range(0, size, COLUMNS)
    for start in progress(starts, len(starts)) if progress else starts:
        stop = min(start + COLUMNS, size)
        block = np.zeros((stop - start, size))
        block[np.arange(stop - start), np.arange(start, stop)] = 1.0
        columns[start:stop] = operator.matmat(block.T).T
    return columns.T
