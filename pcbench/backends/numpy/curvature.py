r"""The curvature of the energy in the hidden activities of a sample, written down and solved with.

With ``J_l = ∂f_l/∂z_{l-1}`` and ``Π_l`` the identity but at the output, ``∂²(N𝓕)/∂z²`` is block
tridiagonal (theory.md 2.3, 3.1):

.. math::
    H_{l,l} = I + J_{l+1}^T Π_{l+1} J_{l+1} - Σ_k (Π e)_{l+1,k} ∇^2 f_{l+1,k}, \qquad
    H_{l,l+1} = - J_{l+1}^T .

Without the last term it is ``BᵀΠB``, where ``B = ∂e/∂z``: the Gauss-Newton part, positive definite,
and in a linear network all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import scipy.sparse.linalg
from jaxtyping import Float

from pcbench.backends.numpy.maps import Matrix
from pcbench.backends.numpy.state import State

Rows = Float[np.ndarray, "_N n_hidden"]
Solve = Callable[[Rows], Rows]
Block = Float[np.ndarray, "_rows _columns"]


@dataclass(frozen=True, slots=True)
class BlockTridiagonal:
    """A symmetric block-tridiagonal matrix.

    Attributes
    ----------
    diagonal
        ``H_{l,l}``, ``l = 1 … L-1``.
    above
        ``H_{l,l+1}``, one fewer.
    """

    diagonal: list[Block]
    above: list[Block]

    def cholesky(self, damping: float = 0.0) -> Solve:
        """Factorise ``H + damping I``, positive definite, in banded storage.

        Where it is not, because of numbers that are not finite, solutions are not numbers.
        """
        banded = self.banded()
        banded[-1] += damping
        try:
            factor = scipy.linalg.cholesky_banded(banded, check_finite=False)
        except np.linalg.LinAlgError:
            return _not_a_number

        def solve(rows: Rows) -> Rows:
            solved: Rows = scipy.linalg.cho_solve_banded(
                (factor, False), rows.T, check_finite=False
            ).T
            return solved

        return solve

    def lu(self) -> Solve:
        """Factorise ``H``, which need not be definite, as a sparse matrix."""
        try:
            factor = scipy.sparse.linalg.splu(self.sparse())
        except RuntimeError:  # exactly singular
            return _not_a_number

        def solve(rows: Rows) -> Rows:
            solved: Rows = factor.solve(np.ascontiguousarray(rows.T)).T
            return solved

        return solve

    def banded(self) -> Float[np.ndarray, "_bands n_hidden"]:
        """Store the upper triangle diagonal by diagonal: ``H[i, j]`` at ``[bands - 1 + i - j, j]``.

        As LAPACK wants it: the main diagonal comes last.
        """
        sizes = [len(block) for block in self.diagonal]
        starts = np.cumsum([0, *sizes])
        reach = max([sizes[0], *(a + b for a, b in pairwise(sizes))])
        banded = np.zeros((reach, starts[-1]))
        blocks = [
            (start, start, block) for start, block in zip(starts, self.diagonal, strict=False)
        ]
        blocks += [
            (row, column, block)
            for (row, column), block in zip(pairwise(starts[:-1]), self.above, strict=True)
        ]
        for row, column, block in blocks:
            i, j = np.indices(block.shape)
            i, j = i + row, j + column
            upper = i <= j
            banded[(reach - 1 + i - j)[upper], j[upper]] = block[upper]
        return banded

    def sparse(self) -> sp.csc_array:
        """Write down the whole matrix."""
        depth = len(self.diagonal)
        blocks: list[list[sp.csr_array | None]] = [[None] * depth for _ in range(depth)]
        for l, block in enumerate(self.diagonal):
            blocks[l][l] = sp.csr_array(block)
        for l, block in enumerate(self.above):
            blocks[l][l + 1], blocks[l + 1][l] = sp.csr_array(block), sp.csr_array(block.T)
        return sp.csc_array(sp.block_array(blocks))


def gauss_newton_curvature(state: State, sample: int) -> BlockTridiagonal:
    """``BᵀΠB`` of a sample."""
    jacobians = [layer.jacobian(sample) for layer in state.evaluated[1:]]
    precisions = [np.ones(J.shape[0]) for J in jacobians]
    precisions[-1] = state.clamped.precision[sample]
    diagonal = [
        np.eye(J.shape[1]) + _dense(J.T @ (sp.diags_array(precision) @ J))
        for J, precision in zip(jacobians, precisions, strict=True)
    ]
    return BlockTridiagonal(diagonal, [-_dense(J.T) for J in jacobians[:-1]])


def full_curvature(state: State, sample: int) -> BlockTridiagonal:
    """``∂²(N𝓕)/∂z²`` of a sample: the Gauss-Newton part, and how layers bend under the forces."""
    straight = gauss_newton_curvature(state, sample)
    return BlockTridiagonal(
        [
            block - _dense(layer.bend(force, sample))
            for block, layer, force in zip(
                straight.diagonal, state.evaluated[1:], state.forces[1:], strict=True
            )
        ],
        straight.above,
    )


def each_sample(state: State, factorise: Callable[[State, int], Solve]) -> Solve:
    """Factorise the curvature of every sample, and return a solver of a row for each of them.

    In a network of affine layers it is the same in all samples of the same precision, and done
    once.
    """
    samples = len(state.clamped.x)
    if all(layer.layer.is_affine for layer in state.evaluated):
        _, group = np.unique(state.clamped.precision, axis=0, return_inverse=True)
        groups = [np.flatnonzero(group.ravel() == g) for g in range(group.max(initial=-1) + 1)]
    else:
        groups = [np.array([sample]) for sample in range(samples)]
    solvers = [(members, factorise(state, int(members[0]))) for members in groups]

    def solve(rows: Rows) -> Rows:
        solved = np.empty_like(rows)
        for members, one in solvers:
            solved[members] = one(rows[members])
        return solved

    return solve


def _dense(matrix: Matrix) -> Block:
    dense: Block = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    return dense


def _not_a_number(rows: Rows) -> Rows:
    return np.full_like(rows, np.nan)
